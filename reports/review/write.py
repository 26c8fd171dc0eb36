"""Write the review page of a run: `review.html`, and a script of traces per group of paired episodes in `review/`.

The page holds its style, its program and the index of all episodes; videos and traces are loaded when they are looked
at. It needs no server: the run folder can be copied and `review.html` opened as a file.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from reports.load import PAIR_FIELDS, RunData, load_run
from reports.review.index import review_index
from reports.review.traces import group_script

SCRIPTS = ("index.js", "player.js", "charts.js", "labels.js", "list.js", "app.js")
"""The page's program, in the order in which its parts use one another."""


def write_review(run_dir: str | Path) -> Path:
    """Write page and traces; return the page's path. Raises what `load_run` raises, `CorruptRun` for a bad trace."""
    run = load_run(run_dir)
    write_traces(run)
    return write_page(run)


def write_page(run: RunData) -> Path:
    """Write `review.html` alone; without traces it says so where they would be."""
    page = run.path / "review.html"
    page.write_text(review_page(review_index(run)), encoding="utf-8", newline="\n")
    return page


def write_traces(run: RunData) -> list[Path]:
    """Write a script for every group of episodes that has a trace; return their paths."""
    folder = run.path / "review"
    folder.mkdir(exist_ok=True)
    baselines = {v.variant_id: b.variant_id if (b := run.baseline_of(v)) and not v.baseline else None
                 for v in run.variants}
    written = []
    for key, episodes in run.episodes.groupby(list(PAIR_FIELDS), sort=False):
        group = "-".join(map(str, key))
        traces = [(vid, run.path / trace) for vid, trace in zip(episodes["variant_id"], episodes["trace"], strict=True)
                  if trace and (run.path / trace).is_file()]
        if traces:
            path = folder / f"{group}.js"
            path.write_text(group_script(group, traces, baselines), encoding="utf-8", newline="\n")
            written.append(path)
    return written


def review_page(index: dict[str, Any]) -> str:
    """The page as text."""
    web = files("reports.review") / "web"
    program = "\n".join((web / name).read_text(encoding="utf-8") for name in SCRIPTS)
    # Inside a script element only "<" could end the element; in JSON it may be written as an escape.
    data = json.dumps(index, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return ((web / "review.html").read_text(encoding="utf-8")
            .replace("/*STYLE*/", (web / "review.css").read_text(encoding="utf-8"))
            .replace("/*PROGRAM*/", program).replace("/*INDEX*/null", data))
