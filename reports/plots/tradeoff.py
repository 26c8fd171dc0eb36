"""Drift against bytes over budgets, a curve per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from reports.plots.figure import MARKERS, SOFT, Plot, colour, draw, legend_above

Point = Mapping[str, Any]
"""`series`, `method`, `bytes_share` (of float16), `drift` (mean norm in action units), `gripper_flips`, and others."""


def drift_against_bytes(points: Sequence[Point]) -> Plot:
    """A curve per series, by ascending size, and the points that no smaller one surpasses."""
    series = list(dict.fromkeys(point["series"] for point in points))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        front = pareto_front(points)
        axes.plot([100 * p["bytes_share"] for p in front], [p["drift"] for p in front], color=SOFT, lw=1, ls="--",
                  drawstyle="steps-post", zorder=0, label="best for its size")
        for place, name in enumerate(series):
            mine = sorted((p for p in points if p["series"] == name), key=lambda p: p["bytes_share"])
            axes.plot([100 * p["bytes_share"] for p in mine], [p["drift"] for p in mine],
                      MARKERS[place % len(MARKERS)] + "-", color=colour(place + 1), ms=5, lw=1.2, label=name)
        axes.set_yscale("log")
        axes.set(xlabel="bytes of the quantized layers, percent of float16", ylabel="drift of the actions")
        axes.grid(True, lw=0.4)
        legend_above(axes, 3)

    return Plot("pareto", "Drift against bytes", "Teacher-forced on observations that were not calibrated on: mean "
                "norm of the deviation of an action in its raw units. Bytes are those of codes, scales, positions and "
                "biases of the quantized layers.", draw(paint, height=4.6))


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no smaller or equally small one reaches, by ascending size."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p["bytes_share"], p["drift"])):
        if not front or point["drift"] < front[-1]["drift"]:
            front.append(point)
    return front
