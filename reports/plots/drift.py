"""How far the end effector of every variant is from that of full precision, over the steps of the episode."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from reports.load import PAIR_FIELDS, RunData, Variant
from reports.plots.figure import Plot, colour, draw, legend_above
from reports.table import method_labels
from reports.trace import read_trace

MAX_PAIRS = 200
"""Traces are files of their own; more of them would take longer to read than they would change the curve."""

MM_PER_M = 1000.0


def drift_over_time(run: RunData) -> Plot | None:
    """Median and 10th to 90th percentile of the distance per step; None if no pair has traces."""
    labels = method_labels(run)
    curves = []
    for place, variant in enumerate(run.variants):
        distances, available = closed_loop_distances(run, variant)
        if distances:
            curves.append((place, labels[variant.variant_id], percentiles(distances), len(distances), available))
    if not curves:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, label, (low, middle, high), _, _ in curves:
            axes.fill_between(range(len(middle)), low, high, color=colour(place), alpha=0.18, lw=0)
            axes.plot(middle, color=colour(place), label=label)
        axes.set(xlabel="control step", ylabel="distance in mm", ylim=(0, None), xlim=(0, None))
        axes.grid(True, axis="y", lw=0.6)
        legend_above(axes, 3)

    counts = "; ".join(f"{label}: {used} of {available} pairs" for _, label, _, used, available in curves)
    return Plot("drift", "Drift over time", "Distance of the end effector from full precision's at the same control "
                "step of the same episode, each policy living with its own actions: median, and 10th to 90th "
                f"percentile as a band, as long as half of the pairs still move; pairs that ended drop out. {counts}.",
                draw(paint))


def closed_loop_distances(run: RunData, variant: Variant) -> tuple[list[np.ndarray], int]:
    """Distances in mm per step, float64[T] per pair with traces, and how many pairs there are.

    Of more than `MAX_PAIRS` pairs as many are taken, evenly spaced.
    """
    baseline = run.baseline_of(variant)
    if variant.baseline or baseline is None:
        return [], 0
    fields = [*PAIR_FIELDS, "trace"]
    pairs = run.episodes_of(baseline)[fields].merge(run.episodes_of(variant)[fields], on=list(PAIR_FIELDS),
                                                    suffixes=("_baseline", "_variant"))
    names = [both for both in zip(pairs["trace_baseline"], pairs["trace_variant"], strict=True) if all(both)]
    chosen = np.unique(np.linspace(0, len(names) - 1, min(len(names), MAX_PAIRS)).round().astype(int))
    distances = []
    for reference, path in ([run.path / name for name in names[i]] for i in chosen):
        if reference.is_file() and path.is_file():
            one, other = (read_trace(file, "xyz").to_numpy(np.float64)
                          for file in (reference, path))
            both = min(len(one), len(other))
            distances.append(MM_PER_M * np.linalg.norm(one[:both] - other[:both], axis=1))
    return distances, len(names)


def percentiles(distances: list[np.ndarray]) -> np.ndarray:
    """float64[3, T]: 10th, 50th, 90th percentile per step, up to the step that half of the episodes reach."""
    lengths = sorted(map(len, distances))
    steps = lengths[len(lengths) // 2]
    return np.array([np.percentile([d[t] for d in distances if len(d) > t], [10, 50, 90]) for t in range(steps)]
                    or np.empty((0, 3))).T
