"""Pictures of a sweep over budgets, from the files of its folder: `make pareto`.

`sweep.json` has the points and what was measured about them; `write_pareto` makes `points.csv` and the pictures of it,
so that they can be drawn again without measuring anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from reports.plots.figure import Plot
from reports.plots.heatmap import bits_heatmap, mean_bits
from reports.plots.sensitivity import sensitivity
from reports.plots.tradeoff import drift_against_bytes

SWEEP = "sweep.json"
"""Keys: `policy`, `points` (see `reports.plots.tradeoff.Point`), `layers` (method -> layers of its audit) and
`sensitivity` (method -> quantiles, see `reports.plots.sensitivity`)."""


def write_pareto(folder: Path) -> list[Path]:
    """Write the table and the pictures of `folder`, and return their paths. Raises ValueError without any point."""
    sweep: dict[str, Any] = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
    if not sweep["points"]:
        raise ValueError(f"{folder / SWEEP} has no points; measure at least one method")
    table = folder / "points.csv"
    pd.DataFrame(sweep["points"]).to_csv(table, index=False)
    written = [table]
    for plot in _plots(sweep):
        path = folder / f"{plot.name}.svg"
        path.write_text(plot.alone(), encoding="utf-8")
        written.append(path)
    return written


def _plots(sweep: dict[str, Any]) -> list[Plot]:
    mixed = [(method, layers) for method, layers in sweep["layers"].items()
             if len(set(mean_bits(layers).values())) > 1]
    plots = [drift_against_bytes(sweep["points"]), bits_heatmap(mixed)]
    plots += [sensitivity(method, quantiles) for method, quantiles in list(sweep["sensitivity"].items())[:1]]
    return [plot for plot in plots if plot is not None]
