"""The run as one JSON object: the line that a program reads."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reports.load import RunData, latency_name
from reports.measures import AXES, timed_devices
from reports.noise import noise_floor
from reports.rungs import ladder_json
from reports.table import Results, is_complete
from reports.verdict import saved_episodes

COUNTS = ("policy", "method", "baseline", "successes", "n", "errors")
"""Columns that the summary takes over as they are, before the rates."""

FIGURES = (
    "verdict", "difference_points", "pairs", "repaired", "regressed", "mcnemar_p", "different_p", "noninferior_p",
    "margin_points", "pairs_for_margin", "storage_bytes", "held_bytes",
    "component_bytes", "mean_bits", "mean_bits_per_weight", "first_divergence_step_median", "latency_ms_median",
    "latency_ms_p90", "latency_ms_p95", "latency_ms_p99", "peak_process_bytes", "peak_device_bytes",
    "recording_percent",
    "deadline_misses", "deadline_misses_percent", "held_steps_percent",
)
"""Columns that the summary takes over as they are, after the rates; None where nothing was measured."""


def summary(run: RunData, table: Results) -> dict[str, Any]:
    """The summary: per variant the counts, rates (fractions), bytes, drift, latency and speed-up per device.

    A figure that was not measured is None; the reason for a missing speed-up stands in its place as
    `{"reason": ...}`.
    """
    return {
        "run": str(run.path),
        "assets": run.header["assets"],
        "protocol": run.header["protocol"].get("name"),
        "latency": latency_name(run.header),
        "variants": {str(vid): _variant(run, table, str(vid), row) for vid, row in table.frame.iterrows()},
        "noise_floor": noise_floor(run),
        "drift_ladder": ladder_json(run),
        "sequential": saved_episodes(run),
        "complete": is_complete(run),
    }


def _variant(run: RunData, table: Results, variant_id: str, row: Any) -> dict[str, Any]:
    interval = _interval(row["wilson95_low"], row["wilson95_high"])
    return {
        **{name: row[name] for name in COUNTS},
        "errors_by_kind": _kinds(run, variant_id),
        "difference95_points": _interval(row["difference_low"], row["difference_high"]),
        "success_rate": row["successes"] / row["n"] if row["n"] else None,
        "wilson95": interval and [bound / 100 for bound in interval],
        "percent_of_full": row["storage_percent"],
        **{name: row[name] for name in FIGURES},
        "drift": _drift(row),
        "speedup": {device: _speedup(table, variant_id, row, device) for device in timed_devices(run)},
    }


def _kinds(run: RunData, variant_id: str) -> dict[str, int]:
    """Exception -> outstanding errors that it caused; a reason begins with its name."""
    reasons = run.errors.loc[run.errors["variant_id"] == variant_id, "reason"]
    return dict(sorted(Counter(str(reason).partition(":")[0] for reason in reasons).items()))


def _interval(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _drift(row: Any) -> dict[str, Any] | None:
    if row["drift_decisions"] is None:
        return None
    return {
        "decisions": row["drift_decisions"],
        "translation_mm": [row[f"drift_translation_{a}_mm"] for a in AXES],
        "rotation_deg": [row[f"drift_rotation_{a}_deg"] for a in AXES],
        "l2_mean": row["drift_l2"],
        "gripper_flips": row["gripper_flips"],
        "gripper_flips_per_100_actions": row["gripper_flips_per_100_actions"],
        "cumulative_translation_mm": row["drift_cumulative_mm"],
        "diverged_episodes": row["diverged_episodes"],
    }


def _speedup(table: Results, variant_id: str, row: Any, device: str) -> dict[str, Any]:
    name = f"speedup_{device}"
    if row[name] is None:
        return {"reason": table.reasons[(variant_id, name)]}
    return {"median": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
