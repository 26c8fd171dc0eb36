"""The `layout` command: a dry run that shows every Linear of a policy with what a method would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.policies import policy_entry
from bench.variants import one_variant
from policies.registry import make_policy

if TYPE_CHECKING:  # it imports torch, and names are checked before that
    from quantizers.dryrun import Prospect


def layout_table(policy: str | None, method: str) -> str:
    """A line per Linear: name, role, inputs, outputs, fate. Raises `UsageError` for an illegal policy or method."""
    variant = one_variant(policy, method)
    from quantizers.dryrun import prospects
    from quantizers.registry import from_json

    instance = make_policy(policy_entry(variant.policy))
    rows = [("LINEAR", "ROLE", "INPUTS", "OUTPUTS", variant.method)]
    for found in prospects(instance.module, instance.layout, from_json(variant.config)):
        site = found.site
        rows.append((site.name, site.role, str(found.in_features), str(found.out_features), _fate(found)))
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join("  ".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in rows)


def _fate(found: Prospect) -> str:
    if found.status != "quantized":
        return f"{found.status}: {found.reason}"
    if found.bits is None:
        return "quantized; calibration decides the widths"
    return "quantized; " + ", ".join(f"{count} rows of {width} bits" for width, count in sorted(found.bits.items()))
