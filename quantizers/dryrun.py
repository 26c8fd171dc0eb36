"""What a method would do to each Linear, found out without doing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from quantizers.audit import Status
from quantizers.layout import LinearSite, ModelLayout
from quantizers.quantize import accounted, check_scope, plan
from quantizers.registry import METHODS, QuantConfig, method_name
from quantizers.scope import check_head, reasons_to_keep


@dataclass(frozen=True)
class Prospect:
    """What would become of one Linear."""

    site: LinearSite
    """Name and role."""
    in_features: int
    """Inputs."""
    out_features: int
    """Outputs."""
    status: Status
    """As in the audit."""
    reason: str | None
    """Why it would not be quantized."""
    bits: Mapping[int, int] | None
    """Width -> number of output channels; None if only calibration could tell."""


def prospects(module: nn.Module, layout: ModelLayout, config: QuantConfig) -> list[Prospect]:
    """One entry per Linear in the order of the layout; `module` stays as it is.

    Raises ValueError as `quantize_`: if the layout and the module disagree on the Linears, if nothing is in scope, or
    if the method corrects a kind of head that the network does not have.
    """
    check_head(config, layout.denoiser is not None)
    linears = accounted(module, layout)
    reasons = reasons_to_keep(module, layout, config)
    wanted = {name: layer for name, layer in linears.items() if name not in reasons}
    check_scope(wanted, config)
    known = {}
    if not METHODS[method_name(config)].needs_calibration:
        known = {name: dict(Counter(bits.tolist())) for name, bits in plan(module, layout, wanted, config).bits.items()}
    elif hasattr(config, "weight_bits"):
        known = {name: {config.weight_bits: layer.out_features} for name, layer in wanted.items()}
    found = []
    for site in layout.linears:
        layer = linears[site.name]
        status, reason = reasons.get(site.name, ("quantized", None))
        bits = {16: layer.out_features} if site.name in reasons else known.get(site.name)
        found.append(Prospect(site, layer.in_features, layer.out_features, status, reason, bits))
    return found
