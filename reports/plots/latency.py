"""The distribution of the time of one decision, per variant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.load import RunData
from reports.plots.figure import Plot, colour, draw, legend_above
from reports.table import method_labels

POINTS = 400
"""Quantiles of a curve; more cannot be told apart."""


def latency_cdf(run: RunData) -> Plot | None:
    """Cumulative distributions inside the episodes and, beside them, of the timing on each device."""
    inside = {v.variant_id: np.concatenate([np.asarray(x, dtype=np.float64)
                                            for x in run.episodes_of(v)["latencies_ms"]] or [np.empty(0)])
              for v in run.variants}
    panels: list[tuple[str, Mapping[str, np.ndarray]]] = [("inside the episodes", inside)]
    for device, timing in sorted((run.timings or {}).items()):
        panels.append((f"timed on {device}", {vid: np.asarray(entry["samples_ms"], dtype=np.float64)
                                              for vid, entry in timing["variants"].items() if "samples_ms" in entry}))
    panels = [(title, samples) for title, samples in panels if any(x.size for x in samples.values())]
    if not panels:
        return None
    labels = method_labels(run)

    def paint(figure: Figure) -> None:
        for axes, (title, samples) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for place, variant in enumerate(run.variants):
                values = samples.get(variant.variant_id)
                if values is not None and values.size:
                    levels = np.linspace(0, 100, min(POINTS, values.size + 1))
                    axes.plot(np.percentile(values, levels), levels, color=colour(place),
                              label=f"{labels[variant.variant_id]} (n {values.size})")
            axes.set(xscale="log", xlabel=f"ms per decision, {title}", ylabel="percent of decisions", ylim=(0, 100))
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.grid(True, lw=0.6)
            legend_above(axes, 1)

    return Plot("latency", "Latency of a decision", "Share of decisions that took at most so long. Inside the episodes "
                "the simulator shares the machine; speed-ups come from the separate timing alone.",
                draw(paint, width=max(9.0, 4.5 * len(panels)), height=4.4))
