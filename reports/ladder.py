"""The drift ladder: what a variant would do, what it would do beside the teacher, what it does alone, and what follows.

Each rung is per dimension and in physical units. The last table asks whether drift says in advance which episodes
fail: the area under the ROC curve (AUC) is the chance that, of a failed and a successful episode, the failed one
drifted more. Over all methods it mostly says which method is the worst; within a method it says more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu, rankdata

from reports.load import PAIR_FIELDS, CorruptRun, RunData, Variant

AXES = ("x", "y", "z")
"""Names of the three components of a translation or an axis-angle rotation."""
CHUNKS_SHOWN = (1, 2, 4, 8, 16, 32)
"""After how many chunks the closed-loop distance is told."""

Drift = Mapping[str, Any]

PREDICTORS: Mapping[str, Callable[[Drift], float | None]] = {
    "teacher-forced, mean command": lambda d: d["teacher_forced"]["l2_mean"],
    "teacher-forced, summed mm": lambda d: d["teacher_forced"]["cumulative_translation_mm"],
    "teacher-forced, gripper flips": lambda d: d["teacher_forced"]["gripper_flips"],
    "closed loop, mm after the first chunk": lambda d: _at_chunk(d, 1),
    "closed loop, early divergence": lambda d: -(np.inf if (s := d["first_divergence_step"]) is None else s),
}
"""What might foretell a failure, of one episode's drift record; greater is worse."""


@dataclass(frozen=True)
class Separation:
    """How well one figure tells failed from successful episodes."""

    auc: float
    """Chance that a failed episode has the greater figure, ties half; 0.5 says nothing."""
    auc_within: float | None
    """The same for two episodes of one variant; None if no variant has episodes of both kinds."""
    p_value: float
    """Two-sided Mann-Whitney p of no relation."""
    failures: int
    """Episodes in which the variant failed though full precision succeeded."""
    successes: int
    """Episodes in which both succeeded."""


@lru_cache(maxsize=1)  # a report shows it as tables and as JSON
def ladder(run: RunData) -> dict[str, dict[str, Any]]:
    """variant_id -> rung -> figures, for every variant with drift records; a rung that was not measured is None."""
    found = {}
    for variant in run.variants:
        drifts = [d for d in run.episodes_of(variant)["drift"] if d is not None]
        if not variant.baseline and drifts:
            found[variant.variant_id] = {
                "teacher_forced": _commands([d["teacher_forced"] for d in drifts]),
                "shadow": _shadow(run, variant), "closed_loop": _closed_loop(drifts)}
    return found


def separation(groups: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Separation | None:
    """How a figure separates (failed, succeeded) episodes, one pair of lists per variant; None without both kinds.

    Mann and Whitney, Annals of Mathematical Statistics 18 (1947); AUC = U / (n m), Hanley and McNeil, Radiology 143
    (1982).
    """
    failed, succeeded = ([x for group in groups for x in group[side]] for side in (0, 1))
    if not failed or not succeeded:
        return None
    u, p = _mann_whitney(failed, succeeded)
    mixed = [(f, s) for f, s in groups if len(f) and len(s)]
    within = sum(_mann_whitney(f, s)[0] for f, s in mixed) / sum(len(f) * len(s) for f, s in mixed) if mixed else None
    return Separation(u / (len(failed) * len(succeeded)), within, p, len(failed), len(succeeded))


def _mann_whitney(failed: Sequence[float], succeeded: Sequence[float]) -> tuple[float, float]:
    """U and its two-sided p. Infinity is a rank like any other, and all that counts here are ranks."""
    ranks = rankdata([*failed, *succeeded])
    if np.ptp(ranks) == 0:
        return len(failed) * len(succeeded) / 2, 1.0
    test = mannwhitneyu(ranks[:len(failed)], ranks[len(failed):], alternative="two-sided")
    return float(test.statistic), float(test.pvalue)


@lru_cache(maxsize=1)
def foretelling(run: RunData) -> dict[str, Separation | None]:
    """Predictor -> separation over the episodes of all variants in which full precision succeeded."""
    groups: dict[str, list[tuple[list[float], list[float]]]] = {name: [] for name in PREDICTORS}
    for variant in run.variants:
        baseline = run.baseline_of(variant)
        if variant.baseline or variant.repeat or baseline is None:
            continue
        known = run.episodes_of(baseline)
        solved, episodes = set(_keys(known[known["success"].astype(bool)])), run.episodes_of(variant)
        judged = [(drift, success) for key, drift, success
                  in zip(_keys(episodes), episodes["drift"], episodes["success"], strict=True)
                  if key in solved and drift is not None]
        for name, predictor in PREDICTORS.items():
            values = [(predictor(drift), bool(success)) for drift, success in judged]
            groups[name].append(([v for v, success in values if v is not None and not success],
                                 [v for v, success in values if v is not None and success]))
    return {name: separation(found) for name, found in groups.items()}


def _keys(episodes: pd.DataFrame) -> list[tuple]:
    return list(episodes[list(PAIR_FIELDS)].itertuples(index=False, name=None))


def _commands(records: Sequence[Drift]) -> dict[str, Any] | None:
    """Mean absolute difference of the commands, an episode weighing as much as it has actions; sums at its end."""
    known = [r for r in records if r.get("actions") and "summed_rotation_deg" in r]
    if not known:
        return None
    weights = [r["actions"] for r in known]
    means = {name: np.average([r[name] for r in known], axis=0, weights=weights)
             for name in ("translation_mm", "rotation_deg")}
    sums = {name: np.mean(np.abs([r[name] for r in known]), axis=0)
            for name in ("summed_translation_mm", "summed_rotation_deg")}
    return {**{name: values.tolist() for name, values in (means | sums).items()},
            "flips_per_100": 100.0 * sum(r["gripper_flips"] for r in known) / sum(weights), "samples": sum(weights),
            "episodes": len(known)}


def _shadow(run: RunData, variant: Variant) -> dict[str, Any] | None:
    records = []
    # One look into the folder: asking for the file of each of 100 000 episodes takes seconds.
    there = {path.stem: path for path in (run.path / "shadows" / variant.variant_id).glob("*.json")}
    for suite, task, init_state, seed in _keys(run.episodes_of(variant)) if there else ():
        path = there.get(f"{suite}-{task}-{init_state}-{seed}")
        if path is not None:
            try:
                records.append(json.loads(path.read_text(encoding="utf-8")))
            except json.JSONDecodeError as error:
                raise CorruptRun(f"{path} line {error.lineno} is not JSON: {error.msg}") from error
    figures = _commands(records)
    return figures and {**figures, "teacher_repeated": sum(r["repeated"] for r in records)}


def _closed_loop(drifts: Sequence[Drift]) -> dict[str, Any] | None:
    known = [d["closed_loop"] for d in drifts if d.get("closed_loop") and d["closed_loop"]["steps"]]
    if not known:
        return None
    weights = [r["steps"] for r in known]
    curve = []
    for chunks in CHUNKS_SHOWN:
        reached = [r["chunk_end_mm"][chunks - 1] for r in known if len(r["chunk_end_mm"]) >= chunks]
        if reached:
            median, worst = np.percentile(reached, [50, 90])
            curve.append({"chunks": chunks, "episodes": len(reached), "median_mm": float(median),
                          "p90_mm": float(worst)})
    return {**{name: np.average([r[name] for r in known], axis=0, weights=weights).tolist()
               for name in ("translation_mm", "rotation_deg")},
            "mean_distance_mm": float(np.average([r["mean_distance_mm"] for r in known], weights=weights)),
            "flips_per_100": 100.0 * sum(r["gripper_flips"] for r in known) / sum(weights), "samples": sum(weights),
            "episodes": len(known), "chunk_ends": curve}


def _at_chunk(drift: Drift, number: int) -> float | None:
    ends = (drift.get("closed_loop") or {}).get("chunk_end_mm", ())
    return ends[number - 1] if len(ends) >= number else None
