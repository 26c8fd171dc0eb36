"""The drift ladder as tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from reports.display import DASH, Cell, TextTable, write_number, write_p
from reports.ladder import CHUNKS_SHOWN, foretelling, ladder
from reports.load import RunData
from reports.table import method_labels

RUNGS = {"teacher_forced": "recorded", "shadow": "teacher in control", "closed_loop": "closed loop"}
"""Key of a rung -> what a table calls it."""
NOT_SHADOWED = "not measured: run the drift command, which plays full precision once more with the others watching"
NO_SUM = "trajectories have a distance, not a sum of commands"
TOO_FEW = "needs failed and successful episodes, of those that full precision solves"
NEVER_BOTH = "no method has episodes of both kinds"
NEVER_SO_LONG = "no pair of episodes went on for so many chunks"


def ladder_tables(run: RunData) -> list[TextTable]:
    """The rungs, the distance over time and whether drift foretells failures; none if there are no drift records."""
    found = ladder(run)
    return [_rungs(run, found), _curve(run, found), _foretelling(run)] if found else []


def _rungs(run: RunData, found: Mapping[str, Mapping[str, Any]]) -> TextTable:
    labels, notes = method_labels(run), _Notes()
    headings = ["Method", "Rung", "x mm", "y mm", "z mm", "x deg", "y deg", "z deg", "Flips per 100",
                "Summed x / y / z mm", "Summed x / y / z deg", "Samples", "Episodes"]
    rows = []
    for variant_id, rungs in found.items():
        for rung, name in RUNGS.items():
            figures = rungs[rung]
            head = [Cell(labels[variant_id]), Cell(name)]
            if figures is None:
                why = NOT_SHADOWED if rung == "shadow" else "the records are older than this rung"
                rows.append([*head, *[notes.dash(why)] * (len(headings) - 2)])
                continue
            axes = [Cell(write_number(v)) for v in (*figures["translation_mm"], *figures["rotation_deg"])]
            sums = [Cell(" / ".join(write_number(v) for v in figures[name])) if name in figures else notes.dash(NO_SUM)
                    for name in ("summed_translation_mm", "summed_rotation_deg")]
            rows.append([*head, *axes, Cell(write_number(figures["flips_per_100"])), *sums,
                         Cell(f"{figures['samples']:,}"), Cell(str(figures["episodes"]))])
    return TextTable("Drift ladder", (
        "Recorded: both policies on the observations of the full-precision episode. Teacher in control: the same "
        "while full precision plays once more; equal to the recorded rung if it repeats itself. Closed loop: the end "
        "effectors of the two episodes over the steps that both took. Means of absolute differences per action or "
        "step; summed: over the episode, mean over episodes."), headings, rows, notes.texts)


def _curve(run: RunData, found: Mapping[str, Mapping[str, Any]]) -> TextTable:
    labels, notes, rows = method_labels(run), _Notes(), []
    for variant_id, rungs in found.items():
        at = {point["chunks"]: point for point in (rungs["closed_loop"] or {}).get("chunk_ends", ())}
        rows.append([Cell(labels[variant_id]), *(
            Cell(f"{write_number(at[n]['median_mm'])} / {write_number(at[n]['p90_mm'])} ({at[n]['episodes']})")
            if n in at else notes.dash(NEVER_SO_LONG) for n in CHUNKS_SHOWN)])
    return TextTable("Distance over time", (
        "Closed loop: distance of the two end effectors in mm at the end of a chunk, median / 90th percentile (pairs "
        "of episodes that both got so far)."), ["Method", *(f"Chunk {n}" for n in CHUNKS_SHOWN)], rows, notes.texts)


def _foretelling(run: RunData) -> TextTable:
    notes, rows = _Notes(), []
    for name, found in foretelling(run).items():
        if found is None:
            rows.append([Cell(name), *[notes.dash(TOO_FEW)] * 5])
            continue
        within = notes.dash(NEVER_BOTH) if found.auc_within is None else Cell(f"{found.auc_within:.2f}")
        rows.append([Cell(name), Cell(f"{found.auc:.2f}"), within, Cell(write_p(found.p_value)),
                     Cell(str(found.failures)), Cell(str(found.successes))])
    return TextTable("Does drift foretell failure?", (
        "Over the episodes of all methods that full precision solves. AUC: chance that a failed episode drifted more "
        "than a successful one; 0.5 is no relation; within: of two episodes of one method. p: two-sided Mann-Whitney "
        "of the former."), ["Drift", "AUC", "AUC within", "p", "Failed", "Succeeded"], rows, notes.texts)


class _Notes:
    """Footnotes of one table; equal reasons share one."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def dash(self, reason: str) -> Cell:
        """An empty cell."""
        if reason not in self.texts:
            self.texts.append(reason)
        return Cell(DASH, self.texts.index(reason) + 1)


def ladder_json(run: RunData) -> dict[str, Any]:
    """The ladder as plain data, `foretelling` beside the variants."""
    return {"variants": ladder(run), "foretelling": {
        name: None if s is None else dataclasses.asdict(s) for name, s in foretelling(run).items()}}
