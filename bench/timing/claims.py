"""Which variants get no speed-up figure, however fast or slow they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.spec import FULL_PRECISION, REPEAT, PolicyVariant


def no_claim(variant: PolicyVariant, audit: Mapping[str, Any] | None, policy: Any) -> str | None:
    """Why nothing may be said of the variant's speed, or None if it may.

    Full precision, also against itself, is what it is; a quantized variant must really multiply integers.
    """
    if variant.method in (FULL_PRECISION, REPEAT) or audit is None:
        return None
    if not audit["integer_arithmetic"]:
        return f"backend {audit['backend']!r} computes in floating point; its speed says nothing about the method"
    # What the audit says was so on the CPU; the policy may have been moved since.
    from quantizers.ledger import left_to_reference

    left = left_to_reference(policy.module)
    if left:
        return (f"{len(left)} layers, first {left[0]!r}, have no integer kernel where the policy is and compute in "
                "floating point; its speed says nothing about the method")
    return None
