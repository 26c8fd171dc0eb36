"""Write every report of a run into its folder.

Reports are functions of the files of the run, so writing them again changes nothing but their own files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from reports.display import tasks_table, variant_tables
from reports.latex import latex_report
from reports.load import RunData, load_run
from reports.markdown import markdown_report
from reports.measures import SHORT_NAMES
from reports.page import html_report
from reports.plots.draw import draw_plots
from reports.provenance import error_lines, notices, provenance
from reports.published.figures import published_table
from reports.review.index import review_index
from reports.review.write import review_page
from reports.rungs import ladder_tables
from reports.summary import summary
from reports.table import Results, method_labels, results
from reports.video import video_name


def write_reports(run_dir: str | Path) -> list[Path]:
    """Write every file of `report_texts`; return their paths in its order.

    Videos that lie in `videos/` are linked, so call `write_videos` first. Raises what `load_run` raises.
    """
    run = load_run(run_dir)
    texts = report_texts(run)
    for name, text in texts.items():
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_text(text, encoding="utf-8", newline="\n")
    return [run.path / name for name in texts]


def report_texts(run: RunData) -> dict[str, str]:
    """File name below the run folder -> content; equal for equal files of the run.

    `report.md`, `.csv`, `.tex` and `.html`, `summary.json`, `review.html` without its traces, `plots/NAME.svg`.
    """
    table = results(run)
    tables = [*variant_tables(run, table), *ladder_tables(run), tasks_table(run), published_table()]
    content = (_title(run), notices(run), tables, error_lines(run), linked_videos(run), provenance(run))
    plots = draw_plots(run, table)
    pages = [("Watch the episodes", "review.html"), ("Records", "episodes.jsonl"), ("Tables as CSV", "report.csv"),
             ("Tables as LaTeX", "report.tex")]
    return {
        "report.md": markdown_report(*content),
        "report.csv": csv_report(table),
        "report.tex": latex_report(*content[:3]),
        "report.html": html_report(*content, plots, pages),
        # allow_nan=False: NaN is not JSON, and absence is null.
        "summary.json": json.dumps(summary(run, table), allow_nan=False, ensure_ascii=False) + "\n",
        "review.html": review_page(review_index(run)),
        **{f"plots/{plot.name}.svg": plot.alone() for plot in plots},
    }


def read_summary(run_dir: str | Path) -> dict[str, Any]:
    """The object of `summary.json`; printed on one line it is the last line of a run."""
    return json.loads((Path(run_dir) / "summary.json").read_text(encoding="utf-8"))


def csv_report(table: Results) -> str:
    """The results frame with full precision; empty cells are explained in the last column, `not_measured`."""
    why: Mapping[str, list[str]] = {str(vid): [] for vid in table.frame.index}
    for (variant_id, column), reason in table.reasons.items():
        why[variant_id].append(f"{column}: {reason}")
    column = pd.Series({vid: "; ".join(lines) for vid, lines in why.items()}, dtype=object)
    return table.frame.assign(not_measured=column).to_csv(lineterminator="\n")


def linked_videos(run: RunData) -> list[tuple[str, str]]:
    """(text, link) of every side-by-side video of this run that lies in its folder."""
    labels = method_labels(run)
    tasks = run.episodes.drop_duplicates(["suite", "task"]).sort_values(["suite", "task"])
    found = []
    for task in tasks.itertuples():
        for variant in run.variants:
            link = f"videos/{video_name(run, variant, task.suite, task.task)}"
            if not variant.baseline and (run.path / link).is_file():
                place = f"{SHORT_NAMES.get(task.suite, task.suite)} {task.task}"
                found.append((f"{place}: {task.instruction} – {labels[variant.variant_id]}", link))
    return found


def _title(run: RunData) -> str:
    policies = ", ".join(dict.fromkeys(v.policy for v in run.variants))
    return f"{run.path.resolve().name}: {policies}"
