"""Timings that were made elsewhere, on the robot's board or another workstation, put beside the success of a run.

A timing belongs to a variant by its full identity: policy, digest of the weights, every knob of the quantization. What
is like it but not it is refused, because a speed beside the success of another network would be a wrong claim.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.load import RunData, RunFolderError, Variant, load_run
from reports.measures import Columns, Missing

SCHEMA_VERSION = 1
"""The one layout of timing files that this module reads."""

IDENTITY = ("policy", "weights", "config")
"""What of an identity decides how a network computes; the text of the method may be written in several ways."""


PARTS = {"energy": "energy", "estimates": "work", "memory": "memory", "stages": "the stages of a decision"}
"""Part of a timing -> what a footnote calls it."""

STAGES = ("preprocess", "inference", "postprocess")
"""The stages of a decision, in their order."""


class WrongTiming(RunFolderError):
    """A timing file that cannot be read or is of other variants than the run's."""


def attach_timing(run_dir: str | Path, file: str | Path) -> Path:
    """Copy a file of `qvla-bench time` to `timings/DEVICE.json` of a run; return the path.

    Raises `WrongTiming` if a variant of the file is not one of the run, to the last knob, or if the run already has
    another timing on this device.
    """
    run = load_run(run_dir)
    content = _read(Path(file))
    known = {v["variant_id"]: i for v, i in zip(run.header["variants"], run.header["spec"]["variants"], strict=True)}
    for variant_id, identity in content["identities"].items():
        if variant_id not in known:
            raise WrongTiming(f"{file} has timed {variant_id} ({identity.get('method')}), which {run.path} has not: "
                              f"its variants are {', '.join(known)}; time with the method as the run has it")
        odd = [name for name in IDENTITY if identity.get(name) != known[variant_id].get(name)]
        if odd:
            raise WrongTiming(f"{file} and {run.path} mean another network by {variant_id}: {', '.join(odd)} differ; "
                              "time the variant of this run")
    target = run.path / "timings" / f"{content['device']}.json"
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if target.is_file() and target.read_text(encoding="utf-8") != text:
        raise WrongTiming(f"{target} is another timing on {content['device']}; remove it if {file} shall take its "
                          "place")
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")
    return target


def device_columns(run: RunData, variant: Variant) -> Columns:
    """Of each timed device: energy, memory and stages of a decision as measured there, and the least time that its
    published peaks allow, which is an estimate."""
    columns: Columns = {}
    for device, timing in sorted((run.timings or {}).items()):
        columns[f"energy_mj_{device}"] = _figure(timing, "energy", "mj_per_decision", variant, device)
        columns[f"estimate_ms_{device}"] = _figure(timing, "estimates", "ms", variant, device)
        columns[f"device_bytes_{device}"] = _figure(timing, "memory", "bytes", variant, device)
        for stage in STAGES:
            samples = _figure(timing, "stages", f"{stage}_ms", variant, device)
            columns[f"{stage}_ms_{device}"] = samples if isinstance(samples, Missing) else statistics.median(samples)
    return columns


def timing_facts(run: RunData) -> list[tuple[str, str]]:
    """(name, text) for the provenance: what each device was and how it fared while it was timed."""
    rows = []
    for device, timing in sorted((run.timings or {}).items()):
        facts = {**(timing.get("facts") or {}), "threads": timing.get("threads"), "rounds": timing.get("rounds"),
                 "during": timing.get("during"), "machine": timing.get("machine"), "created": timing.get("created")}
        told = {name: value for name, value in facts.items() if value not in (None, {})}
        peaks = {e["peaks"] for e in (timing.get("estimates") or {}).values() if e.get("peaks")}
        text = ", ".join(f"{k} = {v if isinstance(v, str) else json.dumps(v)}" for k, v in told.items())
        rows.append((f"Timed on {device}", text + "".join(f"; peaks of the estimate: {p}" for p in sorted(peaks))))
    return rows


def _figure(timing: Mapping[str, Any], part: str, name: str, variant: Variant, device: str) -> Any:
    entry = (timing.get(part) or {}).get(variant.variant_id)
    if entry is None:
        return Missing(f"not measured: {PARTS[part]} on {device} was not taken for this variant")
    if entry.get(name) is None:
        kind = "not estimated" if part == "estimates" else "not measured"
        return Missing(f"{kind}: {entry.get('reason') or 'no reason is given'}")
    return entry[name]


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongTiming(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise WrongTiming(f"{file} is no timing of schema_version {SCHEMA_VERSION}; make one with qvla-bench time")
    missing = [name for name in ("device", "identities", "variants", "speedup") if name not in content]
    if missing:
        raise WrongTiming(f"{file} lacks {', '.join(missing)}; make one with qvla-bench time")
    return content
