from __future__ import annotations

import re

from reports.display import Cell, TextTable
from reports.latex import latex_table
from reports.write import write_reports

SPECIAL = re.compile(r"(?<!\\)[%#_]")


def test_a_table_has_a_column_for_every_heading_and_its_footnotes():
    text = latex_table(TextTable("Memory", "1 MB = 10⁶ bytes", ["Method", "a_b %"],
                                 [[Cell("rtn & co"), Cell("–", 1)]], ["not {measured}"]))
    assert r"\begin{tabular}{lr}" in text and r"Method & a\_b \% \\" in text
    assert r"rtn \& co & --$^{1}$ \\" in text and r"\par\footnotesize $^{1}$ not \{measured\}" in text


def test_the_report_escapes_what_latex_would_understand(timed_folder):
    write_reports(timed_folder)
    text = (timed_folder / "report.tex").read_text()
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert not [line for line in body if SPECIAL.search(line)]
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") >= 7
    assert not set("–−×⁹⁶<>") & set("".join(body).replace("$<$", "").replace("$>$", ""))
