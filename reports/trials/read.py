"""Trials on a real robot, as a person wrote them down: a CSV file with a row per trial.

Columns: task, method, setting, trial, success, seconds, note. `success` is 1 or 0, true or false, yes or no; `seconds`
and `note` may be empty. `trial` names the start, so it is unique within task, method and setting.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("task", "method", "setting", "trial", "success", "seconds", "note")
"""What the first line of the file holds, in any order."""
TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
"""What may stand for a success or a failure, in lower case."""


class TrialsError(ValueError):
    """A file of trials that cannot be read or compared; file, line and legal values are named."""


@dataclass(frozen=True)
class Trial:
    """One attempt of the robot."""

    task: str
    """What it was to do."""
    method: str
    """The quantization, or the name of the baseline."""
    setting: str
    """Bit-widths or whatever else tells two rows of one method apart; may be empty."""
    trial: str
    """Name of the start: equal names are equal placements only if the experimenter saw to it."""
    success: bool
    """Whether the task was done."""
    seconds: float | None
    """How long it took, None where nobody measured."""
    note: str
    """A remark."""


def read_trials(path: str | Path) -> list[Trial]:
    """The trials of a file in its order; raises `TrialsError`."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TrialsError(f"{path} cannot be read as UTF-8 text: {error}") from error
    reader = csv.DictReader(io.StringIO(text), strict=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    if sorted(names) != sorted(COLUMNS):
        missing, unknown = (sorted(set(COLUMNS) - set(names)), sorted(set(names) - set(COLUMNS)))
        raise TrialsError(f"{path} line 1 must name the columns {', '.join(COLUMNS)} once each; missing: {missing}, "
                          f"unknown: {unknown}")
    reader.fieldnames = names
    trials, seen = [], {}
    try:
        for row in reader:
            trial = _trial(row, f"{path} line {reader.line_num}")
            key = (trial.task, trial.method, trial.setting, trial.trial)
            if key in seen:
                raise TrialsError(f"{path} line {reader.line_num} repeats {dict(zip(COLUMNS, key, strict=False))} of "
                                  f"line {seen[key]}; number the trials of one task, method and setting")
            seen[key] = reader.line_num
            trials.append(trial)
    except csv.Error as error:
        raise TrialsError(f"{path} line {reader.line_num} is not CSV: {error}") from error
    if not trials:
        raise TrialsError(f"{path} has no trial below its first line")
    return trials


def _trial(row: dict[str | None, str | None], place: str) -> Trial:
    if None in row or None in row.values():
        raise TrialsError(f"{place} has another number of cells than line 1; put a text with a comma in quotes")
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    empty = [name for name in ("task", "method", "trial", "success") if not cells[name]]
    if empty:
        raise TrialsError(f"{place} has no {', '.join(empty)}; only setting, seconds and note may be empty")
    if cells["success"].lower() not in TRUTH:
        raise TrialsError(f"{place} has success {cells['success']!r}, legal are {', '.join(TRUTH)}")
    return Trial(cells["task"], cells["method"], cells["setting"], cells["trial"], TRUTH[cells["success"].lower()],
                 _seconds(cells["seconds"], place), cells["note"])


def _seconds(text: str, place: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise TrialsError(f"{place} has seconds {text!r}, legal is a number of 0 or more, or nothing")
    return seconds
