"""The `layout` command: a dry run that shows every Linear of a policy with what a method would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.policies import policy_entry
from bench.variants import one_variant
from policies.registry import make_policy

if TYPE_CHECKING:  # it imports torch, and names are checked before that
    from quantizers.dryrun import Prospect


def layout(policy: str | None, method: str) -> int:
    """Print a line per Linear: name, role, inputs, outputs, fate.

    Raises `UsageError` for an illegal policy or method, if nothing would be quantized, and, behind the table, if the
    method wants a layer that it cannot have.
    """
    variant = one_variant(policy, method)
    from quantizers.dryrun import prospects
    from quantizers.registry import from_json

    instance = make_policy(policy_entry(variant.policy))
    try:
        found = prospects(instance.module, instance.layout, from_json(variant.config))
    except ValueError as error:
        raise UsageError(f"method {variant.method!r} on {variant.policy!r}: {error}") from error
    print(_table(found, variant.method, variant.config.get("activation_bits")))
    bad = [prospect for prospect in found if prospect.status == "unsupported"]
    if bad:
        raise UsageError(f"method {variant.method!r} cannot quantize {len(bad)} layers of {variant.policy!r}, first "
                         f"{bad[0].site.name!r} ({bad[0].reason}); `bench` and `quantize` refuse it without "
                         "--allow-unsupported")
    return 0


def _table(found: list[Prospect], method: str, activation_bits: int | None) -> str:
    rows = [("LINEAR", "ROLE", "INPUTS", "OUTPUTS", method)]
    for prospect in found:
        site, sizes = prospect.site, (str(prospect.in_features), str(prospect.out_features))
        rows.append((site.name, site.role, *sizes, _fate(prospect, activation_bits)))
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join("  ".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in rows)


def _fate(found: Prospect, activation_bits: int | None) -> str:
    if found.status != "quantized":
        return f"{found.status}: {found.reason}"
    activations = "" if activation_bits is None else f"; activations of {activation_bits} bits"
    if found.bits is None:
        return f"quantized; calibration decides the widths{activations}"
    rows = ", ".join(f"{count} rows of {width} bits" for width, count in sorted(found.bits.items()))
    return f"quantized; {rows}{activations}"
