"""What one variant of a run measured: success, memory, drift, latency, speed.

Every function returns columns of the results table. A quantity that was not measured is a `Missing` with its reason,
never a zero and never an estimate; `reports.table` turns it into an empty cell with a footnote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.load import RunData, Variant
from reports.statistics import wilson_interval

SHORT_NAMES = {
    "libero_spatial": "Spatial", "libero_object": "Object", "libero_goal": "Goal", "libero_10": "Long",
    "libero_90": "90", "toy": "Toy",
}
"""Suite -> the column heading that papers use; a suite that is not listed keeps its own name."""

MEGABYTE, GIGABYTE = 10**6, 10**9
"""Decimal units, as storage is sold; not 2**20 and 2**30."""

AXES = ("x", "y", "z")
"""Names of the three components of a translation or an axis-angle rotation."""


@dataclass(frozen=True)
class Missing:
    """In place of a number that was not measured."""

    reason: str
    """Why, as a footnote: no capital, no full stop."""


DEADLINE_MS = 50.0
"""Length of a control step at LIBERO's 20 Hz: a slower decision has missed its deadline."""

PERCENTILES = {"median": 50, "p90": 90, "p95": 95, "p99": 99}
"""What is said of a distribution of latencies: end of the column's name -> percentile."""

Columns = dict[str, Any]
"""Column of the results table -> value or `Missing`."""

NO_BASELINE = Missing("the run has no full-precision baseline of this policy")
IS_BASELINE = Missing("this is the full-precision baseline that the others are compared with")
WORLD_WAITED = Missing("the world waited while the policy decided (latency paused)")
NO_EPISODE = Missing("no episode has finished")


def suites_of(run: RunData) -> list[str]:
    """The suites that have a finished or a failed-to-finish episode, in the order of the papers' columns."""
    present = {*run.episodes["suite"], *run.errors["suite"]}
    return [s for s in SHORT_NAMES if s in present] + sorted(present - set(SHORT_NAMES))


def success_columns(run: RunData, variant: Variant) -> Columns:
    """Percent of successes per suite, their unweighted mean, and the pooled counts with a Wilson interval."""
    episodes = run.episodes_of(variant)
    columns: Columns = {}
    for suite in suites_of(run):
        outcomes = episodes.loc[episodes["suite"] == suite, "success"]
        rate = 100.0 * float(outcomes.mean()) if len(outcomes) else Missing(f"no episode of {suite} has finished")
        columns[SHORT_NAMES.get(suite, suite)] = rate
    rates = list(columns.values())
    absent = next((rate for rate in rates if isinstance(rate, Missing)), NO_EPISODE if not rates else None)
    n, successes = len(episodes), int(episodes["success"].sum())
    low, high = (100.0 * x for x in wilson_interval(successes, n)) if n else (NO_EPISODE, NO_EPISODE)
    return columns | {
        "average": absent or float(np.mean(rates)), "successes": successes, "n": n,
        "errors": int((run.errors["variant_id"] == variant.variant_id).sum()),
        "wilson95_low": low, "wilson95_high": high,
    }


def memory_columns(run: RunData, variant: Variant) -> Columns:
    """Bytes from the audit: as saved (storage), in the process (held), and of the quantized components alone."""
    audit = run.audits.get(variant.variant_id)

    def stated(field: str) -> Any:
        if audit is None:
            return Missing("the run has no audit of this variant")
        value = audit.get(field)
        return Missing(f"the audit does not state {field}") if value is None else value

    def ratio(part: str, whole: str, scale: float) -> Any:
        numerator, denominator = stated(part), stated(whole)
        absent = next((x for x in (numerator, denominator) if isinstance(x, Missing)), None)
        if absent is None and not denominator:
            return Missing("nothing is quantized, so there is no percentage")
        return absent or scale * numerator / denominator

    columns: Columns = {}
    for kind in ("storage", "held", "component"):
        columns[f"{kind}_bytes"] = stated(f"{kind}_bytes")
        columns[f"{kind}_percent"] = ratio(f"{kind}_bytes", f"{kind}_bytes_full", 100.0)
    storage = columns["storage_bytes"]
    for name, unit in (("memory_gb", GIGABYTE), ("memory_mb", MEGABYTE)):
        columns[name] = storage if isinstance(storage, Missing) else storage / unit
    return columns | {"mean_bits": stated("mean_bits"), "mean_bits_per_weight": stated("mean_bits_per_weight"),
                      "backend": stated("backend")}


def drift_columns(run: RunData, variant: Variant) -> Columns:
    """How far the commands and the trajectories part from full precision.

    Teacher-forced figures compare the two policies on the same observations; each episode weighs as much as it has
    decisions. `first_divergence_step_median` counts an episode that never diverged as later than any that did.
    """
    names = ("drift_translation_mm", *(f"drift_translation_{a}_mm" for a in AXES), "drift_rotation_deg",
             *(f"drift_rotation_{a}_deg" for a in AXES), "drift_l2", "gripper_flips", "gripper_flips_per_100_actions",
             "drift_cumulative_mm", "drift_decisions", "first_divergence_step_median", "diverged_episodes",
             "divergence_threshold_mm")
    if variant.baseline:
        return dict.fromkeys(names, IS_BASELINE)
    drifts = [d for d in run.episodes_of(variant)["drift"] if d is not None]
    if not drifts:
        return dict.fromkeys(names, Missing("no finished episode of this variant has a drift record"))
    forced = [d["teacher_forced"] for d in drifts if d.get("teacher_forced") and d["teacher_forced"]["decisions"] > 0]
    absent = dict.fromkeys(names, Missing("no decision was compared on the full-precision observations"))
    return absent | (_teacher_forced(forced) if forced else {}) | _divergence(drifts)


def _teacher_forced(forced: list[Mapping[str, Any]]) -> Columns:
    weights = np.array([f["decisions"] for f in forced], dtype=np.float64)
    translation = np.average([f["translation_mm"] for f in forced], axis=0, weights=weights)
    rotation = np.average([f["rotation_deg"] for f in forced], axis=0, weights=weights)
    flips = sum(f["gripper_flips"] for f in forced)
    # Without the number of compared actions a rate would need a guess of the chunk length.
    actions = None if any(f.get("actions") is None for f in forced) else sum(f["actions"] for f in forced)
    rate = 100.0 * flips / actions if actions else Missing("the records do not state how many actions were compared")
    return {
        "drift_translation_mm": float(translation.mean()), "drift_rotation_deg": float(rotation.mean()),
        **{f"drift_translation_{a}_mm": float(v) for a, v in zip(AXES, translation, strict=True)},
        **{f"drift_rotation_{a}_deg": float(v) for a, v in zip(AXES, rotation, strict=True)},
        "drift_l2": float(np.average([f["l2_mean"] for f in forced], weights=weights)),
        "gripper_flips": int(flips), "gripper_flips_per_100_actions": rate,
        "drift_cumulative_mm": float(np.mean([f["cumulative_translation_mm"] for f in forced])),
        "drift_decisions": int(weights.sum()),
    }


def _divergence(drifts: list[Mapping[str, Any]]) -> Columns:
    steps = sorted(d["first_divergence_step"] for d in drifts if d["first_divergence_step"] is not None)
    thresholds = sorted({d["divergence_threshold_mm"] for d in drifts})
    upper = len(drifts) // 2
    lower = (len(drifts) - 1) // 2
    median: Any = Missing("at least half of the episodes never diverged")
    if upper < len(steps):
        median = (steps[lower] + steps[upper]) / 2
    one = thresholds[0] if len(thresholds) == 1 else Missing(f"the records use several thresholds: {thresholds}")
    return {"first_divergence_step_median": median, "diverged_episodes": len(steps), "divergence_threshold_mm": one}


def latency_columns(run: RunData, variant: Variant) -> Columns:
    """Wall milliseconds per decision inside the episodes: median and percentiles over all decisions.

    Deadlines are those of the control rate: of simulated decision times if there were any, else of wall times.
    """
    episodes = run.episodes_of(variant)
    samples = np.concatenate([np.asarray(x, dtype=np.float64) for x in episodes["latencies_ms"]] or [np.empty(0)])
    quantiles = {f"latency_ms_{name}": level for name, level in PERCENTILES.items()}
    names = (*quantiles, "deadline_misses", "deadline_misses_percent", "held_steps_percent")
    if not samples.size:
        absent = NO_EPISODE if episodes.empty else Missing("the records hold no decision latency")
        return dict.fromkeys(names, absent) | {"latency_decisions": 0}
    realtime = [r for r in episodes["realtime"] if r is not None]
    held: Any = WORLD_WAITED
    if realtime:
        misses, decisions = sum(r["deadline_misses"] for r in realtime), sum(len(r["latency_ms"]) for r in realtime)
        held = 100.0 * sum(r["held_steps"] for r in realtime) / max(int(episodes["steps"].sum()), 1)
    else:
        misses, decisions = int((samples > DEADLINE_MS).sum()), samples.size
    return {**dict(zip(quantiles, map(float, np.percentile(samples, list(quantiles.values()))), strict=True)),
            "latency_decisions": int(samples.size),
            "deadline_misses": misses, "deadline_misses_percent": 100.0 * misses / decisions,
            "held_steps_percent": held}


def process_columns(run: RunData, variant: Variant) -> Columns:
    """What episodes took of the machine: peak memory of the process and of the device, time spent on recording.

    The process has everything that an episode needs in it, simulator and scenes too. Films are no part of recording:
    they are made only where they are asked for.
    """
    episodes = run.episodes_of(variant)
    if episodes.empty:
        return dict.fromkeys(("peak_process_bytes", "peak_device_bytes", "recording_percent"), NO_EPISODE)

    def greatest(field: str, otherwise: str) -> Any:
        return max((value for value in episodes[field] if value is not None), default=Missing(otherwise))

    recorded = [(r, wall) for r, wall in zip(episodes["recording_s"], episodes["wall_s"], strict=True) if r]
    share: Any = Missing("the records do not state it")
    if recorded:
        spent = sum(seconds for r, _ in recorded for name, seconds in r.items() if name not in ("film", "saving"))
        share = 100.0 * spent / sum(wall for _, wall in recorded)
    return {"peak_process_bytes": greatest("peak_rss_bytes", "the system does not tell"),
            "peak_device_bytes": greatest("peak_device_bytes", "no accelerator was used in the episodes"),
            "recording_percent": share}


def timed_devices(run: RunData) -> list[str]:
    """The devices of the speed-up columns; "cpu" when nothing was timed, so that the gap shows."""
    return sorted(run.timings) if run.timings else ["cpu"]


def timed_names(device: str) -> list[str]:
    """Columns of the separate timing on a device, in the order of `PERCENTILES`; the median is the plain one."""
    return [f"timed_ms_{device}", *(f"timed_ms_{name}_{device}" for name in list(PERCENTILES)[1:])]


def speedup_columns(run: RunData, variant: Variant) -> Columns:
    """Interleaved latency and speed-up per device, only from `timings/`: latencies of episodes are not comparable."""
    columns: Columns = {}
    for device in timed_devices(run):
        timed = (run.timings or {}).get(device, {}).get("variants", {}).get(variant.variant_id)
        untimed = Missing(f"not measured: speed on {device} was not timed in this run")
        levels = list(PERCENTILES.values())
        values = [untimed] * len(levels) if timed is None else map(float, np.percentile(timed["samples_ms"], levels))
        columns |= dict(zip(timed_names(device), values, strict=True))
        names = [f"speedup_{device}", f"speedup_{device}_low", f"speedup_{device}_high"]
        entry = (run.timings or {}).get(device, {}).get("speedup", {}).get(variant.variant_id)
        if entry is None and variant.baseline:
            absent = IS_BASELINE
        elif entry is None:
            absent = untimed
        elif entry.get("median") is None:
            absent = Missing(f"not measured: {entry.get('reason') or f'timings/{device}.json gives no reason'}")
        else:
            columns |= dict(zip(names, (entry["median"], entry["low"], entry["high"]), strict=True))
            continue
        columns |= dict.fromkeys(names, absent)
    return columns
