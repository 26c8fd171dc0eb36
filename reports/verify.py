"""Whether a report still says what its records say: everything is computed again and compared with what lies there."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq

from reports.load import RunData, load_run
from reports.write import report_texts

SHOWN = 8
"""Differences of one file that are told one by one."""


def verify(run_dir: str | Path) -> list[str]:
    """What does not fit, one sentence each; empty if every file is what the records give.

    Raises what `load_run` raises: records that cannot be read, audits or timings that are no JSON.
    """
    run = load_run(run_dir)
    found = _traces(run)
    for name, text in report_texts(run).items():
        path = run.path / name
        if not path.is_file():
            found.append(f"{name} is missing; write it with the report command")
            continue
        there = path.read_text(encoding="utf-8")
        differ = {".csv": _cells, ".json": _values}.get(path.suffix, _lines)(there, text)
        found += [f"{name}: {difference}" for difference in differ[:SHOWN]]
        if len(differ) > SHOWN:
            found.append(f"{name}: {len(differ) - SHOWN} further differences")
    return found


def _traces(run: RunData) -> list[str]:
    """Finished episodes whose trace is gone or has another number of steps than the record."""
    found = []
    for key, name, steps in zip(run.episodes["line"], run.episodes["trace"], run.episodes["steps"], strict=True):
        path = run.path / name if name else None
        if path is None or not path.is_file():
            found.append(f"episodes.jsonl line {key}: its trace {name} is missing")
        elif (rows := pq.read_metadata(path).num_rows) != steps:
            found.append(f"episodes.jsonl line {key} has {steps} steps, its trace {name} has {rows}")
    return found[:SHOWN] + ([f"{len(found) - SHOWN} further traces"] if len(found) > SHOWN else [])


def _cells(there: str, text: str) -> list[str]:
    """Differences of two CSV texts with a heading row and a name in the first column."""
    old, new = ({row[0]: row for row in csv.reader(io.StringIO(content)) if row} for content in (there, text))
    names = next(csv.reader(io.StringIO(text)))
    found = [f"row {key} is {'not expected' if key in old else 'missing'}" for key in old.keys() ^ new.keys()]
    for key in new.keys() & old.keys():
        if len(old[key]) != len(new[key]):
            found.append(f"row {key} has {len(old[key])} cells, the records give {len(new[key])}")
            continue
        found += [f"row {key}, column {name}: {a!r} in the file, {b!r} from the records"
                  for name, a, b in zip(names, old[key], new[key], strict=True) if a != b]
    return sorted(found)


def _values(there: str, text: str) -> list[str]:
    """Differences of two JSON objects; where the run lies is no part of it."""
    try:
        old = json.loads(there)
    except json.JSONDecodeError as error:
        return [f"is not JSON: {error.msg}"]
    new = json.loads(text)
    return _differ("", {**old, "run": None} if isinstance(old, dict) else old, {**new, "run": None})


def _differ(place: str, old: object, new: object) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for key in sorted(old.keys() | new.keys())
                for line in _differ(f"{place}.{key}".lstrip("."), old.get(key), new.get(key))]
    return [] if old == new else [f"{place}: {json.dumps(old)} in the file, {json.dumps(new)} from the records"]


def _lines(there: str, text: str) -> list[str]:
    """Differences of two texts, by line."""
    old, new = there.splitlines(), text.splitlines()
    found = [f"line {number} is {a[:80]!r}, the records give {b[:80]!r}"
             for number, (a, b) in enumerate(zip(old, new, strict=False), start=1) if a != b]
    return found + ([f"has {len(old)} lines, the records give {len(new)}"] if len(old) != len(new) else [])
