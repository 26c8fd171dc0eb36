"""How many channels of every layer have how many bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reports.load import RunData
from reports.plots.figure import LINE, SERIES, Plot, draw
from reports.table import method_labels

NAMED_LAYERS = 40
"""With more layers than this the axis counts them instead of naming them."""

Share = Mapping[str, float]


def bits_per_layer(run: RunData) -> Plot | None:
    """A panel per variant with a quantized layer: shares of the bit-widths, layer by layer."""
    labels = method_labels(run)
    panels = []
    for variant in run.variants:
        layers = run.audits.get(variant.variant_id, {}).get("layers", [])
        if any(layer["status"] == "quantized" for layer in layers):
            panels.append((labels[variant.variant_id], [layer["name"] for layer in layers], layer_shares(layers)))
    if not panels:
        return None
    widths = sorted({bits for _, _, shares in panels for share in shares for bits in share}, key=int)
    named = max(len(names) for _, names, _ in panels) <= NAMED_LAYERS

    def paint(figure: Figure) -> None:
        columns = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, (label, names, shares) in zip(columns, panels, strict=True):
            below = np.zeros(len(shares))
            for place, bits in enumerate(widths):
                part = np.array([100 * share.get(bits, 0.0) for share in shares])
                # More bits are denser, for readers who cannot tell the colours apart.
                axes.bar(range(len(shares)), part, 1.0, below, color=SERIES[(place + 1) % len(SERIES)],
                         alpha=0.35 + 0.6 * place / max(len(widths) - 1, 1), edgecolor=LINE, lw=0.3,
                         label=f"{bits} bit")
                below += part
            axes.set(ylabel="% of channels", xlim=(-0.5, len(shares) - 0.5), ylim=(0, 100))
            axes.set_title(label, fontsize=10, loc="right")
            if named:
                axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
            else:
                axes.set_xlabel("layer, in the order of the audit")
        columns[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(widths), borderaxespad=0.3)

    return Plot("bits", "Bits per layer", "Share of the output channels of each linear layer that have so many bits, "
                "in the order of the audit; kept layers stand at 16 bits.",
                draw(paint, height=0.8 + len(panels) * (3.0 if named else 1.8)))


def layer_shares(layers: Sequence[Mapping[str, Any]]) -> list[Share]:
    """Per layer: bit-width (as the audit writes it) -> share of channels."""
    shares = []
    for layer in layers:
        total = sum(layer["bits"].values())
        shares.append({bits: n / total for bits, n in layer["bits"].items()} if total else {})
    return shares
