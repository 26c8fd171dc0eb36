"""Mean bits of every layer, by kind of layer and block: the heat map of QVLA (arXiv 2602.03782)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.load import RunData
from reports.plots.figure import INK, PAPER, SERIES, Plot, draw
from reports.table import method_labels

Layers = Sequence[Mapping[str, Any]]
"""The layers of an audit."""


def run_heatmap(run: RunData) -> Plot | None:
    """A panel per variant whose layers have different mean widths; None if there is none."""
    labels = method_labels(run)
    panels = [(labels[variant.variant_id], run.audits.get(variant.variant_id, {}).get("layers", []))
              for variant in run.variants]
    return bits_heatmap([(label, layers) for label, layers in panels if len({*mean_bits(layers).values()}) > 1])


def bits_heatmap(panels: Sequence[tuple[str, Layers]]) -> Plot | None:
    """A panel per label: rows are roles and kinds of layers, columns blocks, cells mean bits of the channels."""
    if not panels:
        return None
    grids = [(label, mean_bits(layers)) for label, layers in panels]

    def paint(figure: Figure) -> None:
        columns = figure.subplots(len(grids), 1, squeeze=False)[:, 0]
        for axes, (label, cells) in zip(columns, grids, strict=True):
            rows = list(dict.fromkeys(row for row, _ in cells))
            blocks = 1 + max(block for _, block in cells)
            for (row, block), bits in cells.items():
                # Denser for more bits; the root keeps 2 and 4 apart.
                axes.add_patch(Rectangle((block - 0.5, rows.index(row) - 0.5), 1, 1, facecolor=SERIES[1],
                                         alpha=(bits / 16) ** 0.7, edgecolor=PAPER))
                axes.text(block, rows.index(row), f"{bits:.1f}", ha="center", va="center", fontsize=7, color=INK)
            axes.set(xlim=(-0.5, blocks - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel="block",
                     xticks=range(blocks), yticks=range(len(rows)))
            axes.set_yticklabels(rows, fontsize=8)
            axes.set_title(label, fontsize=10, loc="right")

    height = sum(0.9 + 0.22 * len({row for row, _ in cells}) for _, cells in grids)
    return Plot("bits-heatmap", "Bits by block and kind of layer", "Mean bits over the output channels of each "
                "quantized linear layer.", draw(paint, height=height))


def mean_bits(layers: Layers) -> dict[tuple[str, int], float]:
    """(role and kind, block) -> mean bits of the quantized layers; a layer outside of blocks is in block 0."""
    cells: dict[tuple[str, int], float] = {}
    for layer in layers:
        if layer["status"] != "quantized":
            continue
        steps = layer["name"].split(".")
        block = next((int(step) for step in steps if step.isdigit()), 0)
        kind = steps[-1] if any(step.isdigit() for step in steps) else layer["name"]
        channels = sum(layer["bits"].values())
        cells[f"{layer['role']} {kind}", block] = sum(int(b) * n for b, n in layer["bits"].items()) / channels
    return cells
