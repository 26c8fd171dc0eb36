"""Figures that others have published, shown beside ours and never subtracted from them.

They were measured with other checkpoints on LIBERO's own assets. Even among themselves the sources disagree: the same
method on the same model has 76.3 % in one and 94.3 % in another.
"""

from __future__ import annotations

import csv
from importlib.resources import files

from reports.display import DASH, Cell, TextTable

SOURCES = {
    "QVLA": "QVLA, arXiv 2602.03782, LIBERO table (poster); the memory is that of the whole model",
    "QuantVLA": "QuantVLA, arXiv 2602.20309, LIBERO table as an independent reproduction transcribed it; the memory is "
                "that of language model and action head alone",
    "HoloQ-VLA": "HoloQ-VLA (first versions: Omega-QVLA), arXiv 2605.28803, table 2 of version 3 as an independent "
                 "reproduction transcribed it, 200 episodes per suite, from counts",
}
"""Source in the file -> where the figures stand."""

NOT_PUBLISHED = "not published, or not legible in the source"

FIGURES = {"spatial": "Spatial %", "object": "Object %", "goal": "Goal %", "long": "Long %", "average": "Average %",
           "memory_gb": "Memory GB", "speedup": "Speed-up"}
"""Column of the file -> heading."""


def published_table() -> TextTable:
    """Every published row, with a footnote for each source."""
    with (files("reports.published") / "success.csv").open(encoding="utf-8") as file:
        entries = list(csv.DictReader(file))
    notes = [*SOURCES.values(), NOT_PUBLISHED]
    rows = []
    for entry in entries:
        cells = [Cell(entry["method"], note=notes.index(SOURCES[entry["source"]]) + 1), Cell(entry["model"]),
                 Cell(entry["setting"])]
        rows.append(cells + [Cell(entry[name]) if entry[name] else Cell(DASH, len(notes)) for name in FIGURES])
    return TextTable("Published figures of others", (
        "Copied from the sources in the footnotes: other checkpoints, other assets, other evaluation code. They are "
        "not comparable with the tables above, nor, between sources, with each other."),
        ["Method", "Model", "Setting", *FIGURES.values()], rows, notes)
