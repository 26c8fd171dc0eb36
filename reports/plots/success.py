"""Success of every task and variant with its interval, and success against memory."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from reports.load import RunData
from reports.measures import SHORT_NAMES
from reports.plots.figure import INK, LINE, MARKERS, SOFT, Plot, colour, draw, legend_above
from reports.statistics import wilson_interval
from reports.table import Results, tasks_frame


def forest(run: RunData) -> Plot | None:
    """A row per task, a mark with a 95 % Wilson interval per variant; None if no episode has finished."""
    frame = tasks_frame(run)
    if not frame["n"].sum():
        return None
    rows = list(dict.fromkeys(zip(frame["suite"], frame["task"], strict=True)))
    variants = [v.variant_id for v in run.variants]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, variant in enumerate(variants):
            mine = frame[(frame["variant_id"] == variant) & (frame["n"] > 0)]
            y = [rows.index(row) + 0.7 * ((place + 0.5) / len(variants) - 0.5)
                 for row in zip(mine["suite"], mine["task"], strict=True)]
            rate = 100 * (mine["successes"] / mine["n"]).astype(float)
            bounds = [wilson_interval(int(s), int(n)) for s, n in zip(mine["successes"], mine["n"], strict=True)]
            axes.hlines(y, [100 * low for low, _ in bounds], [100 * high for _, high in bounds], colour(place), lw=1.4)
            axes.plot(rate, y, MARKERS[place % len(MARKERS)], color=colour(place), ms=5,
                      label=frame[frame["variant_id"] == variant]["label"].iloc[0])
        for row in range(1, len(rows)):
            axes.axhline(row - 0.5, color=LINE, lw=0.6)
        axes.set(xlim=(-2, 102), ylim=(len(rows) - 0.5, -0.5), xlabel="success in percent",
                 yticks=range(len(rows)), yticklabels=[f"{SHORT_NAMES.get(s, s)} {t}" for s, t in rows])
        legend_above(axes, 3)

    height = 1.2 + len(rows) * max(0.3, 0.16 * len(variants))
    return Plot("forest", "Success per task", "Percent of finished episodes with 95 % Wilson intervals.",
                draw(paint, height=height))


def pareto(table: Results) -> Plot | None:
    """Average success against what the weights take; None without both figures of a variant."""
    known = table.frame.dropna(subset=["average", "memory_mb", "wilson95_low"])
    if known.empty:
        return None
    places = {vid: place for place, vid in enumerate(table.frame.index)}

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        front = pareto_front(known)
        axes.plot(front["memory_mb"], front["average"], color=SOFT, lw=1, ls="--", zorder=0,
                  drawstyle="steps-post", label="best for its size")
        for vid, row in known.iterrows():
            place = places[vid]
            axes.vlines(row["memory_mb"], row["wilson95_low"], row["wilson95_high"], colour(place), lw=1.4)
            axes.plot(row["memory_mb"], row["average"], MARKERS[place % len(MARKERS)], color=colour(place), ms=7,
                      label=row["label"])
        axes.set(xlabel="weights as saved, MB (10⁶ bytes)", ylabel="success in percent", ylim=(-3, 103))
        axes.set_xlim(left=0)
        axes.grid(True, axis="y", lw=0.6)
        axes.axhline(0, color=INK, lw=0.5)
        legend_above(axes, 3)

    return Plot("pareto", "Success against memory", "Mean of the suites' success rates; bars are the 95 % Wilson "
                "intervals of all episodes. On the dashed line is what no smaller variant surpasses.", draw(paint))


def pareto_front(frame: pd.DataFrame) -> pd.DataFrame:
    """The variants that no smaller or equally small one reaches, by ascending memory."""
    ordered = frame.astype({"memory_mb": float, "average": float})
    ordered = ordered.sort_values(["memory_mb", "average"], ascending=[True, False])
    best = ordered["average"].cummax().shift(fill_value=-1.0)
    return ordered[ordered["average"] > best]
