"""Where each figure of a report comes from: a link from its cell to the episodes, the audit or the timing behind it.

Links are relative to the run folder, where the report lies too.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlencode

from reports.load import RunData
from reports.measures import SHORT_NAMES, suites_of

FROM_AUDIT = frozenset((
    "label", "setting", "storage_bytes", "storage_percent", "held_bytes", "held_percent", "component_bytes",
    "component_percent", "memory_gb", "memory_mb", "mean_bits", "mean_bits_per_weight", "backend"))
"""Columns that `audits/` decides."""

FROM_TIMING = ("timed_ms_", "speedup_", "energy_mj_", "estimate_ms_", "preprocess_ms_", "inference_ms_",
               "postprocess_ms_", "device_bytes_")
"""Beginnings of columns that `timings/DEVICE.json` decides."""

FILTERS = {"repaired": {"verdict": "repaired"}, "regressed": {"verdict": "regressed"}, "errors": {"outcome": "error"},
           "successes": {"outcome": "success"}}
"""Column -> the filter of the review page that leaves exactly the episodes that it counts."""


def source_of(run: RunData, variant_id: str, column: str) -> str | None:
    """The file, or the filtered list of episodes, that a figure of `column` was computed from; None if it is gone."""
    if column in FROM_AUDIT:
        return f"audits/{variant_id}.json" if variant_id in run.audits else None
    if column.startswith(FROM_TIMING):
        device = next((d for d in run.timings or () if f"_{d}" in column), None)
        return None if device is None else f"timings/{device}.json"
    suites = _suite_columns(run)
    task = {"task": suites[column]} if column in suites else {}
    return episodes_link(variant_id, {**task, **FILTERS.get(column, {})})


@lru_cache(maxsize=1)  # asked for once per cell
def _suite_columns(run: RunData) -> dict[str, str]:
    return {SHORT_NAMES.get(suite, suite): suite for suite in suites_of(run)}


def episodes_link(variant_id: str, filters: dict[str, str]) -> str:
    """The review page with these filters; it names the line in `episodes.jsonl` of every episode."""
    return f"review.html#{urlencode({'variant': variant_id, **filters})}"
