"""The results of a run as data frames: a row per variant, and a row per task and variant.

`results(run)` is every measured number in full precision; how a number is written down is `reports.display`'s affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import pandas as pd

from reports.load import RunData
from reports.measures import (
    Columns,
    Missing,
    drift_columns,
    latency_columns,
    memory_columns,
    process_columns,
    speedup_columns,
    success_columns,
)
from reports.setting import setting_of
from reports.sources import source_of
from reports.timings import device_columns
from reports.verdict import saved_episodes, verdicts

LABELS = {"fp": "full precision", "aa": "full precision again"}
"""Method -> what a table calls it; a method that is not listed keeps its name."""
SERVED_LABELS = {"fp": "as served", "aa": "as served again"}
"""The same for a policy that runs on a server, whose precision is the server's affair."""


@dataclass(frozen=True)
class Results:
    """The results table and why its empty cells are empty."""

    frame: pd.DataFrame
    """A row per variant, baseline first, indexed by `variant_id`; dtype object, None where nothing was measured."""
    reasons: Mapping[tuple[str, str], str]
    """(variant_id, column) -> the reason, for exactly the cells that are None."""
    links: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(variant_id, column) -> what the figure was computed from, relative to the run folder."""


def results(run: RunData) -> Results:
    """Every figure of every variant, with the reason for each that is absent."""
    labels = method_labels(run)
    said = verdicts(run)
    rows: dict[str, dict] = {}
    reasons: dict[tuple[str, str], str] = {}
    for variant in run.variants:
        columns: Columns = {
            "policy": variant.policy, "method": variant.method, "label": labels[variant.variant_id],
            "setting": setting_of(run, variant), "baseline": variant.baseline,
        }
        columns |= success_columns(run, variant) | said[variant.variant_id]
        for measure in (memory_columns, drift_columns, latency_columns, process_columns, speedup_columns,
                        device_columns):
            columns |= measure(run, variant)
        reasons |= {(variant.variant_id, name): value.reason for name, value in columns.items()
                    if isinstance(value, Missing)}
        rows[variant.variant_id] = {k: None if isinstance(v, Missing) else v for k, v in columns.items()}
    # dtype object keeps None as None; a float column would turn it into NaN.
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="variant_id"), dtype=object)
    links = {(vid, name): link for vid in rows for name in rows[vid]
             if (link := source_of(run, vid, name)) is not None}
    return Results(frame, reasons, links)


def results_frame(run: RunData) -> pd.DataFrame:
    """The table of `results` alone."""
    return results(run).frame


def tasks_frame(run: RunData) -> pd.DataFrame:
    """A row per task and variant: suite, task, task_name, instruction, variant_id, label, successes, n, errors.

    Tasks in suite order and index order, variants in report order; a task that only has errors is listed with n = 0.
    """
    names = ["suite", "task", "task_name", "instruction"]
    seen = pd.concat([run.episodes[names], run.errors[names]]).drop_duplicates(["suite", "task"])
    finished = run.episodes.groupby(["suite", "task", "variant_id"])["success"].agg(["sum", "count"])
    failed = run.errors.groupby(["suite", "task", "variant_id"]).size()
    labels = method_labels(run)
    rows = []
    for suite, task, task_name, instruction in seen.sort_values(["suite", "task"]).itertuples(index=False):
        for variant in run.variants:
            key = (suite, task, variant.variant_id)
            successes, n = (int(x) for x in finished.loc[key]) if key in finished.index else (0, 0)
            rows.append([suite, task, task_name, instruction, variant.variant_id, labels[variant.variant_id],
                         successes, n, int(failed.get(key, 0))])
    return pd.DataFrame(rows, columns=[*names, "variant_id", "label", "successes", "n", "errors"])


def method_labels(run: RunData) -> dict[str, str]:
    """variant_id -> the shortest name that tells the variants of this run apart."""
    several = len({v.policy for v in run.variants}) > 1
    labels = {}
    for variant in run.variants:
        method = (SERVED_LABELS if variant.served else LABELS).get(variant.method, variant.method)
        labels[variant.variant_id] = f"{variant.policy} {method}" if several else method
    counts = Counter(labels.values())
    return {vid: label if counts[label] == 1 else f"{label} ({vid})" for vid, label in labels.items()}


@lru_cache(maxsize=1)  # asked for by notices and summary
def is_complete(run: RunData) -> bool:
    """True if nothing is left to run, as far as the files say.

    No key's last word is an error, every variant finished the same episodes, and there are as many of them as the
    header's `episodes_per_variant` announces, where it does. Where comparisons could end early, every variant has the
    rounds that its verdict needs.
    """
    if len(run.errors) or run.episodes.empty:
        return False
    keys = [set(run.episodes_of(v)[["suite", "task", "init_state", "seed"]].itertuples(index=False, name=None))
            for v in run.variants]
    needed = saved_episodes(run)
    if needed is not None:
        tasks = len(run.header["spec"]["tasks"])
        longest = max(needed["rounds"].values(), default=run.header["spec"]["trials"])
        return all(len(done) >= tasks * needed["rounds"].get(v.variant_id, longest)
                   for v, done in zip(run.variants, keys, strict=True))
    planned = run.header.get("episodes_per_variant")
    return all(k == keys[0] for k in keys) and planned in (None, len(keys[0]))
