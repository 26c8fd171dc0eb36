"""The report of trials on a real robot: Markdown, HTML, CSV and one JSON object, beside a copy of the file itself."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.console import text_table
from reports.display import DASH, Cell, TextTable, write_number, write_p, write_points
from reports.markdown import markdown_report
from reports.page import html_report
from reports.trials.compare import ArmResult, compare_trials
from reports.trials.read import read_trials

BASELINE_NOTE = "this is the baseline that the others are compared with"
UNTIMED_NOTE = "not measured: no success of this method has seconds"
UNPAIRED = ("Trials of different methods are taken as independent groups: the interval is Newcombe's (method 10), p is "
            "Fisher's exact test.")
PAIRED = ("Trials with equal names are taken as pairs, as the experimenter declared: the interval is Tango's or the "
          "task-clustered one, whichever is wider, p is McNemar's exact test.")


def import_trials(path: str | Path, folder: str | Path, baseline: str = "fp", margin_points: float = 2.0,
                  paired: bool = False) -> str:
    """Write `trials.csv` (a copy), `report.md`, `report.html`, `report.csv`, `summary.json` into `folder`.

    Returns the table and, on its last line, the summary. Raises `TrialsError`.
    """
    results = compare_trials(read_trials(path), baseline, margin_points, paired)
    table = trials_table(results, margin_points, paired)
    content = Path(path).read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    summary = json.dumps(_summary(results, margin_points, paired, digest), allow_nan=False, ensure_ascii=False)
    parts = ([], [("File", f"{Path(path).name}, {digest}"), ("Trials", f"{sum(r.n for r in results)}")])
    title = f"Trials on the robot: {Path(path).name}"
    notices = ["These are trials on a real robot. They share no scene with simulated episodes and are compared with "
               "each other alone."]
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    (into / "trials.csv").write_bytes(content)
    for name, text in (("report.md", markdown_report(title, notices, [table], [], *parts)),
                       ("report.html", html_report(title, notices, [table], [], *parts)),
                       ("report.csv", _csv(results)), ("summary.json", summary + "\n")):
        (into / name).write_text(text, encoding="utf-8", newline="\n")
    return "\n".join([text_table(table), "", summary])


def trials_table(results: Sequence[ArmResult], margin_points: float, paired: bool) -> TextTable:
    """A row per method and setting."""
    tasks = list(dict.fromkeys(task for r in results for task in r.per_task))
    headings = ["Method", "Setting", *tasks, "Success %", "95 % interval", "Difference", "95 % interval of difference",
                "p (Holm)", "p of worse (Holm)", "Verdict", "Median s"]
    notes: dict[str, int] = {}

    def absent(reason: str) -> Cell:
        return Cell(DASH, notes.setdefault(reason, len(notes) + 1))

    rows = []
    for r in results:
        low, high = (100 * x for x in r.wilson95)
        cells = [Cell(r.method), Cell(r.setting or DASH), *(Cell("{}/{}".format(*r.per_task[task])) for task in tasks),
                 Cell(f"{100 * r.successes / r.n:.1f}"), Cell(f"{low:.1f} – {high:.1f}")]
        if r.against is None:
            cells += [absent(BASELINE_NOTE)] * 5
        else:
            a = r.against
            cells += [Cell(write_points(a.difference_points)),
                      Cell(" to ".join(write_points(x) for x in a.interval_points)), Cell(write_p(a.different_p)),
                      Cell(write_p(a.noninferior_p)), Cell(a.verdict)]
        cells.append(absent(UNTIMED_NOTE) if r.seconds is None
                     else Cell(f"{write_number(r.seconds[0])} (n {r.seconds[1]})"))
        rows.append(cells)
    caption = (f"Successes of trials per task, then over all tasks with the 95 % Wilson interval. Differences are in "
               f"percentage points; the margin of the verdict is {margin_points:g} points. "
               f"{PAIRED if paired else UNPAIRED} p-values are adjusted for the number of methods.")
    return TextTable("Trials", caption, headings, rows, list(notes))


def _summary(results: Sequence[ArmResult], margin_points: float, paired: bool, digest: str) -> dict[str, Any]:
    return {"kind": "trials", "digest": digest, "paired": paired, "margin_points": margin_points,
            "methods": [dataclasses.asdict(r) | {"successes": r.successes, "n": r.n} for r in results]}


def _csv(results: Sequence[ArmResult]) -> str:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["method", "setting", "successes", "n", "wilson95_low", "wilson95_high", "difference_points",
                     "difference_low", "difference_high", "different_p", "noninferior_p", "verdict"])
    for r in results:
        a = r.against
        tail = [""] * 6 if a is None else [a.difference_points, *a.interval_points, a.different_p, a.noninferior_p,
                                           a.verdict]
        writer.writerow([r.method, r.setting, r.successes, r.n, *(100 * x for x in r.wilson95), *tail])
    return sink.getvalue()
