"""The index of the review page: every episode of a run in few bytes, paired with its full-precision episode.

Records only, no trace is read, so that the index of 100 000 episodes takes a moment.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.load import PAIR_FIELDS, RunData
from reports.provenance import notices
from reports.table import method_labels
from reports.video import FRAME_STEPS

VERDICTS = ("repaired", "regressed", "both succeeded", "both failed", "error", "not paired")
"""What a variant's episode is beside the full-precision one; the first two are discordant."""


def review_index(run: RunData) -> dict[str, Any]:
    """What the page knows before it loads an episode, as JSON-able data.

    `groups` has a row `[task, init_state, seed, episodes]` per pair key, in order of tasks, init states and seeds;
    each of `episodes` is `[variant, outcome, steps, divergence, filmed, line, verdict, reason]`, where `variant` counts
    in `variants`, `verdict` in `verdicts` (None for full precision) and `line` in `episodes.jsonl`.
    """
    labels = method_labels(run)
    places = {v.variant_id: i for i, v in enumerate(run.variants)}
    baselines = [run.baseline_of(v) for v in run.variants]
    variants = [{"id": v.variant_id, "label": labels[v.variant_id], "policy": v.policy, "baseline": v.baseline,
                 "reference": None if b is None or v.baseline else places[b.variant_id]}
                for v, b in zip(run.variants, baselines, strict=True)]
    tasks, groups = _groups(run, places)
    for group in groups:
        outcomes = {episode[0]: episode[1] for episode in group[3]}
        for episode in group[3]:
            variant = variants[episode[0]]
            verdict = None if variant["baseline"] else judge(outcomes.get(variant["reference"]), episode[1])
            episode.insert(6, None if verdict is None else VERDICTS.index(verdict))
    return {"run": run.path.resolve().name, "created": run.header["created"], "notices": notices(run),
            "variants": variants, "verdicts": list(VERDICTS), "tasks": tasks, "groups": groups,
            "frame_steps": FRAME_STEPS, "threshold_mm": _threshold_mm(run)}


def judge(baseline: str | None, variant: str) -> str:
    """The verdict of an episode's outcome beside that of full precision (None: there is no such episode)."""
    if "error" in (baseline, variant):
        return "error"
    if baseline is None:
        return "not paired"
    if baseline == variant:
        return "both succeeded" if variant == "success" else "both failed"
    return "repaired" if variant == "success" else "regressed"


def _threshold_mm(run: RunData) -> float | None:
    """The one threshold of divergence of all records, None if there is none or several."""
    found = {drift["divergence_threshold_mm"] for drift in run.episodes["drift"] if drift is not None}
    return found.pop() if len(found) == 1 else None


def _groups(run: RunData, places: dict[str, int]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    columns = ["variant_id", *PAIR_FIELDS, "instruction", "outcome", "steps", "drift", "line", "reason"]
    records = pd.concat([run.episodes[columns], run.errors[columns]])
    films = {v.variant_id: {file.stem for file in (run.path / "frames" / v.variant_id).glob("*.mp4")}
             for v in run.variants}
    tasks: dict[tuple[str, int], dict[str, Any]] = {}
    groups: dict[tuple, list[Any]] = {}
    for vid, suite, task, init, seed, words, outcome, steps, drift, line, reason in sorted(
            zip(*(records[c] for c in columns), strict=True), key=lambda row: (row[1:5], places[row[0]])):
        tasks.setdefault((suite, task), {"suite": suite, "task": task, "instruction": words, "place": len(tasks)})
        group = groups.setdefault((suite, task, init, seed), [tasks[suite, task]["place"], init, seed, []])
        divergence = None if drift is None else drift["first_divergence_step"]
        film = f"{suite}-{task}-{init}-{seed}" in films[vid]
        group[3].append([places[vid], outcome, steps, divergence, int(film), line, reason])
    listed = [{name: task[name] for name in ("suite", "task", "instruction")} for task in tasks.values()]
    return listed, list(groups.values())
