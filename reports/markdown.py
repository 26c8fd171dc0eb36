"""The report as GitHub Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from reports.display import Cell, TextTable

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Footnote marks that read well in the raw text also."""


def markdown_report(
    title: str,
    notices: Sequence[str],
    tables: Sequence[TextTable],
    errors: Sequence[str],
    videos: Sequence[tuple[str, str]],
    provenance: Sequence[tuple[str, str]],
) -> str:
    """The whole report. `videos` are (text, link relative to the run folder), `provenance` (name, text)."""
    parts = [f"# {_escape(title)}", *(f"> {_escape(line)}" for line in notices)]
    parts += [part for table in tables for part in (f"## {table.title}", markdown_table(table), table.caption)]
    if errors:
        parts += ["## Errors", "\n".join(f"- {_escape(line)}" for line in errors)]
    if videos:
        parts += ["## Videos", "\n".join(f"- [{_escape(text)}]({link})" for text, link in videos)]
    parts += ["## Provenance", "\n".join(f"- **{name}**: {_escape(text)}" for name, text in provenance)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: TextTable) -> str:
    """One table with its footnotes below; figures are right-aligned, the first column is not."""
    lines = ["| " + " | ".join(_escape(h) for h in table.headings) + " |",
             "|" + "|".join([":--"] + ["--:"] * (len(table.headings) - 1)) + "|"]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    notes = [f"{_mark(i)} {_escape(note)}" for i, note in enumerate(table.notes, start=1)]
    return "\n".join(lines) + ("\n\n" + "  \n".join(notes) if notes else "")


def _cell(cell: Cell) -> str:
    return _escape(cell.text) + (_mark(cell.note) if cell.note is not None else "")


def _mark(note: int) -> str:
    return str(note).translate(SUPERSCRIPTS)


def _escape(text: str) -> str:
    """Keep what a user typed from becoming markup; a line break would end a table row."""
    for character in "\\|<>*_`[]":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
