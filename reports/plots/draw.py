"""Every plot of a run, in the order of the report."""

from __future__ import annotations

from reports.load import RunData
from reports.plots.bits import bits_per_layer
from reports.plots.drift import drift_over_time
from reports.plots.figure import Plot
from reports.plots.heatmap import run_heatmap
from reports.plots.latency import latency_cdf
from reports.plots.sensitivity import run_sensitivity
from reports.plots.success import forest, pareto
from reports.table import Results


def draw_plots(run: RunData, table: Results) -> list[Plot]:
    """The plots for which the run has data."""
    made = (forest(run), drift_over_time(run), latency_cdf(run), pareto(table), bits_per_layer(run), run_heatmap(run),
            run_sensitivity(run))
    return [plot for plot in made if plot is not None]
