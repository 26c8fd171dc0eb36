"""How much the channels of every layer move the actions, width by width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from reports.load import RunData
from reports.plots.bits import NAMED_LAYERS
from reports.plots.figure import Plot, colour, draw, legend_above
from reports.table import method_labels

Quantiles = Mapping[str, Mapping[str, Sequence[float]]]
"""Layer -> width -> five quantiles (5, 25, 50, 75 and 95 %) of the sensitivity of its channels."""


def run_sensitivity(run: RunData) -> Plot | None:
    """The first variant that measured sensitivities; None if none did."""
    labels = method_labels(run)
    for variant in run.variants:
        found: Mapping[str, Any] = run.audits.get(variant.variant_id, {}).get("diagnostics", {})
        if found.get("sensitivity_quantiles"):
            return sensitivity(labels[variant.variant_id], found["sensitivity_quantiles"])
    return None


def sensitivity(label: str, quantiles: Quantiles) -> Plot:
    """Median, quartiles and 5 to 95 % per layer and width, on a logarithmic axis; those at exactly 0 are below it."""
    layers = list(quantiles)
    widths = list(next(iter(quantiles.values())))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, width in enumerate(widths):
            at = [index + 0.7 * ((place + 0.5) / len(widths) - 0.5) for index in range(len(layers))]
            low, first, median, third, high = zip(*(quantiles[layer][width] for layer in layers), strict=True)
            tint = colour(place + 1)
            axes.vlines(at, low, high, tint, lw=0.7)
            axes.vlines(at, first, third, tint, lw=2.4)
            axes.plot(at, median, "_", color=tint, ms=5, label=f"{width} bit")
        axes.set_yscale("log", nonpositive="mask")
        axes.set(ylabel="squared deviation of the actions", xlim=(-0.5, len(layers) - 0.5))
        if len(layers) <= NAMED_LAYERS:
            axes.set_xticks(range(len(layers)), layers, rotation=90, fontsize=7)
        else:
            axes.set_xlabel("layer, in forward order")
        axes.grid(True, axis="y", lw=0.4)
        legend_above(axes)

    return Plot("sensitivity", "Sensitivity of the channels", f"{label}: deviation of the actions (squared norm, "
                "summed over the chunk) when one output channel alone has so many bits. Marks are medians over the "
                "channels of a layer, thick lines quartiles, thin lines 5 to 95 %.", draw(paint, height=4.6))
