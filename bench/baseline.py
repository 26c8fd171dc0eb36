"""The file that a regression gate compares with: `qvla-bench baseline` writes it, `qvla-bench check` reads it.

It is made from a finished run of full precision and one accepted variant: the spec, what the accepted variant drifted
by on the recorded observations of some episodes (copied beside the file), and what full precision achieved. A later
variant may drift by a little more than the accepted one, and must be non-inferior in closed loop.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import norm

from bench.errors import UsageError
from bench.folder import RunFolder, write_json
from bench.records import EpisodeRecord, RunStore
from bench.spec import REPEAT, BenchSpec, EpisodeKey
from reports.difference import ALPHA

SCHEMA_VERSION = 1
"""The layout of the file; another one is refused."""
RECORDED = 5
"""Episodes whose observations are kept: the first of as many tasks."""
SLACK = 1.25
"""How many times the accepted drift a later variant may show."""
FLOORS = {"translation_mm": 0.1, "rotation_deg": 0.05, "flips_per_100": 0.5, "summed_mm": 5.0}
"""Limits are never below these: a variant that happens to drift by nothing must not forbid all others."""


@dataclass(frozen=True)
class Baseline:
    """What a gate compares with."""

    path: Path
    """The file."""
    spec: BenchSpec
    """The run that it was made from."""
    limits: Mapping[str, float]
    """Figure of `drift_figures` -> the greatest legal value."""
    accepted: Mapping[str, float]
    """The same figures of the accepted variant."""
    recorded: Mapping[str, str]
    """Pair -> sha256 of its recorded observations."""
    outcomes: Mapping[str, bool]
    """Pair -> whether full precision succeeded."""

    def observations(self) -> Iterator[tuple[EpisodeKey, Path]]:
        """The recorded episodes; raises `UsageError` for a file that is missing or was changed."""
        for key in self.spec.episodes():
            if key.variant_id != self.spec.variants[0].variant_id or key.pair not in self.recorded:
                continue
            path = observations_folder(self.path) / f"{key.pair}.npz"
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != self.recorded[key.pair]:
                raise UsageError(f"{path} is missing or is not the recording that {self.path} was made with; make the "
                                 "baseline again")
            yield key, path


def write_baseline(out: Path, spec: BenchSpec, store: RunStore) -> Baseline:
    """Make the file from a run in which everything has finished; replaces an old one.

    Raises `UsageError` unless the run has exactly one variant besides full precision.
    """
    variants = [v for v in spec.variants if not v.baseline and v.method != REPEAT]
    if len(variants) != 1:
        raise UsageError(f"a baseline needs one accepted variant, got {[v.method for v in variants] or 'none'}: name "
                         "one method, or the folder of a saved variant (POLICY=...)")
    records = {r.key: r for r in store.records() if r.outcome != "error"}
    chosen = _chosen(spec, store.folder, records)
    folder = observations_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    recorded = {}
    for key in chosen:
        source = store.folder.observations(key)
        shutil.copyfile(source, folder / source.name)
        recorded[key.pair] = hashlib.sha256(source.read_bytes()).hexdigest()
    drifts = [r.drift["teacher_forced"] for r in records.values()
              if r.key.variant_id == variants[0].variant_id and r.key.pair in recorded]
    accepted = drift_figures(drifts)
    limits = {name: max(SLACK * value, FLOORS[name]) for name, value in accepted.items()}
    outcomes = {k.pair: r.outcome == "success" for k, r in records.items()
                if k.variant_id == spec.variants[0].variant_id}
    write_json(out, {"schema_version": SCHEMA_VERSION, "spec": spec.to_json(), "limits": limits, "accepted": accepted,
                     "recorded": recorded, "outcomes": outcomes})
    return read_baseline(out)


def read_baseline(path: Path) -> Baseline:
    """The content of a file that `write_baseline` wrote; raises `UsageError` for another one."""
    try:
        content = json.loads(path.read_text())
        if content.pop("schema_version", None) != SCHEMA_VERSION:
            raise ValueError(f"legal is schema_version {SCHEMA_VERSION}")
        return Baseline(path=path, **{**content, "spec": BenchSpec.from_json(content["spec"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise UsageError(f"{path} is not a baseline of this release ({error}); make one with `qvla-bench baseline`"
                         ) from error


def observations_folder(path: Path) -> Path:
    """Where the recordings of a baseline lie: beside it, so that the two travel together."""
    return path.with_name(f"{path.stem}.observations")


def drift_figures(forced: list[Mapping[str, Any]]) -> dict[str, float]:
    """What a gate looks at, of teacher-forced drift records: means over actions, and over episodes for the sum."""
    actions = sum(f["actions"] for f in forced)
    mean = {name: sum(f["actions"] * sum(f[name]) / 3 for f in forced) / actions
            for name in ("translation_mm", "rotation_deg")}
    return {**mean, "flips_per_100": 100 * sum(f["gripper_flips"] for f in forced) / actions,
            "summed_mm": sum(f["cumulative_translation_mm"] for f in forced) / len(forced)}


def least_pairs(margin_points: float) -> int:
    """Pairs below which not even an equal variant can be shown to be non-inferior."""
    margin = margin_points / 100
    return math.ceil(float(norm.isf(ALPHA)) ** 2 * (1 - margin) / margin)


def _chosen(spec: BenchSpec, folder: RunFolder, records: Mapping[EpisodeKey, EpisodeRecord]) -> list[EpisodeKey]:
    """The first finished episode of each of the first tasks."""
    found: dict[int, EpisodeKey] = {}
    for key in sorted(k for k in records if k.variant_id == spec.variants[0].variant_id):
        if folder.observations(key).is_file():
            found.setdefault(key.task, key)
    return list(found.values())[:RECORDED]
