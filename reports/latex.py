"""Tables for a paper: LaTeX with the package booktabs, footnotes below each table."""

from __future__ import annotations

from collections.abc import Sequence

from reports.display import Cell, TextTable

ESCAPES = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$", "×": r"$\times$", "⁹": "$^9$",
    "⁶": "$^6$", "²": "$^2$", "<": "$<$", ">": "$>$", "|": r"\textbar{}"})
"""Characters that mean something to LaTeX, or that its fonts lack."""


def latex_report(title: str, notices: Sequence[str], tables: Sequence[TextTable]) -> str:
    """All tables, to be taken in with \\input; what a reader must know stands above as comments."""
    head = [f"% {title}", *(f"% {' '.join(line.split())}" for line in notices), "% Needs \\usepackage{booktabs}."]
    return "\n".join(head) + "\n\n" + "\n\n".join(map(latex_table, tables)) + "\n"


def latex_table(table: TextTable) -> str:
    """One table: the first column reads from the left, the others end at the right."""
    lines = [r"\begin{table}", r"\centering", r"\caption{" + _escape(f"{table.title}. {table.caption}") + "}",
             r"\begin{tabular}{l" + "r" * (len(table.headings) - 1) + "}", r"\toprule",
             " & ".join(map(_escape, table.headings)) + r" \\", r"\midrule",
             *(" & ".join(map(_cell, row)) + r" \\" for row in table.rows), r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize $^{{{i}}}$ {_escape(note)}" for i, note in enumerate(table.notes, start=1)]
    return "\n".join([*lines, r"\end{table}"])


def _cell(cell: Cell) -> str:
    return _escape(cell.text) + (f"$^{{{cell.note}}}$" if cell.note is not None else "")


def _escape(text: str) -> str:
    return " ".join(text.split()).translate(ESCAPES)
