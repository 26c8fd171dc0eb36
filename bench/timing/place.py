"""Whether and how a policy gets onto the device that is timed."""

from __future__ import annotations

from typing import Any

from bench.timing.probe import TimingProbe
from policies.base import MovablePolicy


def cannot_move(policy: Any, name: str, probe: TimingProbe) -> str | None:
    """Why `policy` (or its class) cannot run where `probe` times, or None if it can.

    A network that stays on the CPU while a card's clock runs would give figures under a wrong name.
    """
    if probe.torch_device == "cpu" or callable(getattr(policy, "to", None)):
        return None
    return (f"policy {name!r} runs on the CPU only: it has no method `to`, which would move it to "
            f"{probe.torch_device!r}")


def move(policy: Any, probe: TimingProbe) -> None:
    """Put the policy's network, and whatever it gives to it, onto the device."""
    if isinstance(policy, MovablePolicy):
        policy.to(probe.torch_device)
