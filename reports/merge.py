"""Several runs as one: the suites of a paper's table, or methods that were run one after the other.

Runs are merged only if nothing but suites, tasks, trials and variants sets them apart. With `force` they are merged all
the same, and every report of the result says on top what they differ in. The result is a run folder like any other; its
traces stay where they were.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reports.load import KEY_FIELDS, RECORD_FIELDS, RunData, RunFolderError, load_run

SAME = ("protocol", "assets", "packages", "renderer")
"""Parts of the header that must be equal."""
SAME_SPEC = ("seed", "protocol", "assets", "latency", "margin_points", "stop", "divergence_mm", "threads", "device",
             "batch")
"""Parts of the spec that must be equal."""
BEFORE = {"device": "cpu", "batch": 1}
"""What a part of the spec was before there was a choice; older headers do not have it."""
VOLATILE = ("latencies_ms", "wall_s", "peak_rss_bytes", "peak_device_bytes", "recording_s", "trace", "finished")
"""What differs between two runs of the same episode on the same machine."""


class CannotMerge(RunFolderError):
    """Runs that are not of one kind."""


def merge_runs(folders: Sequence[str | Path], out: str | Path, force: bool = False) -> Path:
    """Write the union of the runs into the new folder `out`; return it.

    An episode that several runs have must have ended alike in all. Raises `CannotMerge` for that, for runs that
    differ in `SAME` or `SAME_SPEC` (unless `force`), and if `out` holds anything that was not merged before.
    """
    runs = [load_run(folder) for folder in folders]
    if len(runs) < 2:
        raise CannotMerge(f"merging takes at least two runs, got {len(runs)}")
    target = Path(out)
    _require_free(target)
    differences = [line for run in runs[1:] for line in _differences(runs[0], run)]
    if differences and not force:
        raise CannotMerge("these runs are not of one kind: " + "; ".join(differences)
                          + "; merge them with --force, and the report says so")
    records = _records(runs, target)
    (target / "audits").mkdir(parents=True, exist_ok=True)
    for variant_id, audit in _audits(runs).items():
        _write(target / "audits" / f"{variant_id}.json", audit)
    (target / "timings").mkdir(exist_ok=True)
    for device, timing in pooled_timings(runs).items():
        _write(target / "timings" / f"{device}.json", timing)
    lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
    (target / "episodes.jsonl").write_text(lines, encoding="utf-8")
    _write(target / "header.json", _header(runs, differences))
    return target


def pooled_timings(runs: Sequence[RunData]) -> dict[str, dict[str, Any]]:
    """Device -> the timings of all runs together: samples of a variant one after the other.

    A speed-up is the median over all rounds of the ratio to the baseline of the same run, for rounds of two runs met
    different disturbances.
    """
    pooled: dict[str, dict[str, Any]] = {}
    for device in sorted({device for run in runs for device in run.timings or {}}):
        samples: dict[str, list[float]] = {}
        ratios: dict[str, list[float]] = {}
        reasons: dict[str, dict[str, Any]] = {}
        parts: dict[str, Any] = {}
        for run in runs:
            timing = (run.timings or {}).get(device)
            if timing is None:
                continue
            # What belongs to one variant alone stays as its run had it; the first run that has it is heard.
            for name in ("energy", "estimates", "identities", "stages", "memory"):
                parts[name] = {**timing.get(name, {}), **parts.get(name, {})}
            parts.setdefault("facts", timing.get("facts", {}))
            timed = {vid: entry["samples_ms"] for vid, entry in timing["variants"].items()}
            baselines = {v.variant_id: b.variant_id for v in run.variants if (b := run.baseline_of(v))}
            for vid, values in timed.items():
                samples.setdefault(vid, []).extend(values)
            for vid, entry in timing["speedup"].items():
                reference = timed.get(baselines.get(vid, ""))
                if entry.get("median") is None or reference is None:
                    reasons[vid] = {"median": None, "low": None, "high": None, "reason": entry.get("reason")}
                else:
                    ratios.setdefault(vid, []).extend(np.array(reference) / np.array(timed[vid]))
        pooled[device] = {"device": device, "pooled_runs": len(runs), **parts,
                          "variants": {vid: _summary(values) for vid, values in samples.items()},
                          "speedup": reasons | {vid: _range(values) for vid, values in ratios.items()}}
    return pooled


def _summary(values: Sequence[float]) -> dict[str, Any]:
    named = zip(("median_ms", "p90_ms", "p95_ms", "p99_ms"), np.percentile(values, [50, 90, 95, 99]), strict=True)
    return {name: float(value) for name, value in named} | {"samples_ms": list(values)}


def _range(values: Sequence[float]) -> dict[str, float]:
    low, median, high = np.percentile(values, [5, 50, 95])
    return {"median": float(median), "low": float(low), "high": float(high)}


def _require_free(target: Path) -> None:
    header = target / "header.json"
    if target.exists() and any(target.iterdir()) and not (
            header.is_file() and "merged_from" in json.loads(header.read_text(encoding="utf-8"))):
        raise CannotMerge(f"{target} holds something that was not merged; name another folder")


def _differences(one: RunData, other: RunData) -> list[str]:
    name = f"{one.path.name} and {other.path.name}"
    parts = [(field, one.header.get(field), other.header.get(field)) for field in SAME]
    parts += [(f"spec {field}", *(run.header["spec"].get(field, BEFORE.get(field)) for run in (one, other)))
              for field in SAME_SPEC]
    found = [f"{field} of {name}: {_short(a)} and {_short(b)}" for field, a, b in parts if a != b]
    policies = {v["variant_id"]: v for v in one.header["variants"]}
    return found + [f"variant {v['variant_id']} of {name} is not the same" for v in other.header["variants"]
                    if policies.get(v["variant_id"], v) != v]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 90 else text[:90] + "..."


def _records(runs: Sequence[RunData], target: Path) -> list[dict[str, Any]]:
    kept: dict[tuple, tuple[dict[str, Any], RunData]] = {}
    for run in runs:
        lines = (run.path / "episodes.jsonl").read_text(encoding="utf-8").split("\n")
        for number in sorted([*run.episodes["line"], *run.errors["line"]]):
            record = json.loads(lines[number - 1])
            key = tuple(record["key"][field] for field in KEY_FIELDS)
            if record["trace"]:
                record["trace"] = os.path.relpath(run.path / record["trace"], target)
            if key not in kept or kept[key][0]["outcome"] == "error":
                kept[key] = (record, run)
            elif record["outcome"] != "error" and (odd := _odd(kept[key][0], record)):
                raise CannotMerge(f"{record['key']} ended differently in {kept[key][1].path} and {run.path}: "
                                  f"{', '.join(odd)}; these are not the same conditions")
    return [record for record, _ in kept.values()]


def _odd(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [field for field in RECORD_FIELDS if field not in VOLATILE and one[field] != other[field]]


def _audits(runs: Sequence[RunData]) -> dict[str, Mapping[str, Any]]:
    return {vid: audit for run in reversed(runs) for vid, audit in run.audits.items()}


def _header(runs: Sequence[RunData], differences: list[str]) -> dict[str, Any]:
    first = runs[0].header
    variants = {v["variant_id"]: v for run in runs for v in run.header["variants"]}
    spec = {**first["spec"], "tasks": sorted({t for run in runs for t in run.header["spec"].get("tasks", ())})}
    if all("variants" in run.header["spec"] for run in runs):
        named = {v["variant_id"]: s for run in runs
                 for v, s in zip(run.header["variants"], run.header["spec"]["variants"], strict=True)}
        spec["variants"] = [named[variant_id] for variant_id in variants]
    return {**first, "spec": spec, "variants": list(variants.values()), "episodes_per_variant": None,
            "machine": first["machine"] if all(r.header["machine"] == first["machine"] for r in runs)
            else {"several": [r.header["machine"] for r in runs]},
            "merged_sources": _sources(runs),
            "merged_from": [run.path.name for run in runs], "merged_by_force": differences, "starts": [],
            "args": [], "created": max(run.header["created"] for run in runs)}


def _sources(runs: Sequence[RunData]) -> dict[str, str]:
    """Run -> its commit, if the runs were not all made with the same sources of this project; else empty."""
    if all(run.header.get("code") == runs[0].header.get("code") for run in runs):
        return {}
    return {run.path.name: run.header.get("commit") or "no commit" for run in runs}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8", newline="\n")
