"""Every plot of a run, in the order of the report."""

from __future__ import annotations

from pathlib import Path

from reports.load import RunData
from reports.plots.bits import bits_per_layer
from reports.plots.drift import drift_over_time
from reports.plots.figure import Plot
from reports.plots.latency import latency_cdf
from reports.plots.success import forest, pareto
from reports.table import Results


def draw_plots(run: RunData, table: Results) -> list[Plot]:
    """The plots for which the run has data."""
    made = (forest(run), drift_over_time(run), latency_cdf(run), pareto(table), bits_per_layer(run))
    return [plot for plot in made if plot is not None]


def write_plots(plots: list[Plot], folder: Path) -> list[Path]:
    """Write each plot as `plots/NAME.svg` below the run folder; return the paths."""
    (folder / "plots").mkdir(exist_ok=True)
    paths = [folder / "plots" / f"{plot.name}.svg" for plot in plots]
    for path, plot in zip(paths, plots, strict=True):
        path.write_text(plot.alone(), encoding="utf-8", newline="\n")
    return paths
