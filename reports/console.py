"""The results table for a terminal: aligned columns, footnotes below."""

from __future__ import annotations

from pathlib import Path

from reports.display import Cell, TextTable, variant_tables
from reports.load import load_run
from reports.provenance import notices
from reports.rungs import ladder_tables
from reports.table import results


def console_table(run_dir: str | Path) -> str:
    """The results table of a run, its footnotes and what a reader must know first. Raises what `load_run` raises."""
    run = load_run(run_dir)
    table = variant_tables(run, results(run))[0]
    return "\n".join([text_table(table), "", *notices(run)])


def console_ladder(run_dir: str | Path) -> str:
    """The drift ladder of a run, each table below its title. Raises what `load_run` raises."""
    tables = ladder_tables(load_run(run_dir))
    return "\n\n".join(f"{table.title}\n\n{text_table(table)}" for table in tables)


def text_table(table: TextTable) -> str:
    """One table in columns of equal width; the first reads from the left, the others end at the right."""
    grid = [list(table.headings), *([_cell(cell) for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
             for row in grid]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([*lines, *(f"[{i}] {note}" for i, note in enumerate(table.notes, start=1))])


def _cell(cell: Cell) -> str:
    return cell.text if cell.note is None else f"{cell.text} [{cell.note}]"
