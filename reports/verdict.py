"""What may be said of each variant against full precision, all variants of the run taken together.

Two questions are asked of every variant: does it differ, and is it worse by the margin or more? Each is answered at 5 %
for the whole run (Holm over the variants). A run that could stop early answers both with bets (`reports.sequential`),
for p-values of a fixed number of episodes would promise too much there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.difference import ALPHA, Changes, changes_of, noninferiority_p, paired_interval, pairs_for_margin
from reports.load import PAIR_FIELDS, RunData, Variant
from reports.measures import IS_BASELINE, NO_BASELINE, Columns, Missing
from reports.sequential import Round, anytime_interval, needed_rounds, standing
from reports.statistics import holm, mcnemar_p

MARGIN_POINTS = 2.0
"""Margin of a run whose header declares none."""

NAMES = (
    "pairs", "difference_points", "difference_low", "difference_high", "repaired", "regressed", "mcnemar_p",
    "different_p", "noninferior_p", "margin_points", "pairs_for_margin", "verdict",
)
"""Columns of a verdict. `different_p` and `noninferior_p` are adjusted for the number of variants."""

NO_PAIR = Missing("no episode was finished by both this variant and its baseline")
EARLY_END = Missing("the comparison could end early, and a p-value for a fixed number of episodes ignores that")
IS_REPEAT = Missing("this is full precision against itself: no verdict is sought")
SEVERAL_SUITES = Missing("the run has several suites; a verdict needs a run of one suite")


@dataclass(frozen=True)
class _Answer:
    """The unadjusted answers about one variant."""

    different_p: float
    """p of "no difference"."""
    noninferior_p: float
    """p of "worse by the margin or more"."""
    interval: tuple[float, float]
    """95 % interval of the difference, as fractions."""


def verdicts(run: RunData) -> dict[str, Columns]:
    """variant_id -> the columns of `NAMES`."""
    margin = margin_points(run) / 100
    paired = {v.variant_id: _pairs(run, v) for v in run.variants if not v.baseline and run.baseline_of(v) is not None}
    judged = [vid for vid, pairs in paired.items()
              if len(pairs) and pairs["suite"].nunique() == 1 and not _variant(run, vid).repeat]
    answers = {vid: _answer(run, _variant(run, vid), paired[vid], margin) for vid in judged}
    different = dict(zip(answers, holm([a.different_p for a in answers.values()]), strict=True))
    noninferior = dict(zip(answers, holm([a.noninferior_p for a in answers.values()]), strict=True))
    found = {}
    for variant in run.variants:
        vid = variant.variant_id
        columns = dict.fromkeys(NAMES, IS_BASELINE if variant.baseline else NO_BASELINE)
        if vid in paired:
            columns |= _counted(paired[vid], variant)
        if vid in answers:
            changes, (low, high) = _changes(paired[vid]), answers[vid].interval
            columns |= {
                "difference_low": 100 * low, "difference_high": 100 * high,
                "mcnemar_p": EARLY_END if sequential(run) else columns["mcnemar_p"],
                "different_p": different[vid], "noninferior_p": noninferior[vid], "margin_points": 100 * margin,
                "pairs_for_margin": pairs_for_margin(changes, margin),
                "verdict": verdict(changes.difference, different[vid], noninferior[vid])}
        found[vid] = columns
    return found


def verdict(difference: float, different_p: float, noninferior_p: float) -> str:
    """The verdict in words; p-values are adjusted ones."""
    if different_p <= ALPHA and difference > 0:
        return "better"
    if different_p <= ALPHA:
        return "worse, within margin" if noninferior_p <= ALPHA else "worse"
    return "non-inferior" if noninferior_p <= ALPHA else "undecided"


def margin_points(run: RunData) -> float:
    """The margin that the run declared before its first episode."""
    return float(run.header["spec"].get("margin_points", MARGIN_POINTS))


def sequential(run: RunData) -> bool:
    """Whether comparisons of the run could end early."""
    return run.header["spec"].get("stop") == "sequential"


def comparisons(run: RunData) -> list[str]:
    """The variants about which a verdict is sought."""
    return [v.variant_id for v in run.variants if not v.baseline and not v.repeat]


def rounds_of(run: RunData, variant: Variant) -> list[Round]:
    """What every round gave, up to the first that is not complete."""
    pairs = _pairs(run, variant)
    planned = len(run.header["spec"].get("tasks", ())) or pairs["task"].nunique()
    rounds: list[Round] = []
    for number, group in pairs.groupby("init_state", sort=True):
        if number != len(rounds) or len(group) != planned:
            break
        changes = _changes(group)
        rounds.append((changes.n, changes.repaired, changes.regressed))
    return rounds


def saved_episodes(run: RunData) -> dict[str, Any] | None:
    """How many episodes early ends have saved: planned, needed and saved; None if nothing could end early."""
    spec = run.header["spec"]
    if not sequential(run):
        return None
    rounds = {vid: rounds_of(run, _variant(run, vid)) for vid in comparisons(run)}
    needed = needed_rounds(rounds, spec["trials"], margin_points(run) / 100)
    # Full precision, and its repetition, accompany whoever goes on longest.
    others = len(run.variants) - len(needed)
    total = sum(needed.values()) + others * max(needed.values(), default=spec["trials"])
    tasks = len(spec["tasks"])
    planned = tasks * spec["trials"] * len(run.variants)
    return {"planned": planned, "needed": total * tasks, "saved": planned - total * tasks, "rounds": needed}


def _pairs(run: RunData, variant: Variant) -> pd.DataFrame:
    """Pair fields, success_baseline and success_variant of the episodes that both finished."""
    fields = [*PAIR_FIELDS, "success"]
    return run.episodes_of(run.baseline_of(variant))[fields].merge(
        run.episodes_of(variant)[fields], on=list(PAIR_FIELDS), suffixes=("_baseline", "_variant"))


def _changes(pairs: pd.DataFrame) -> Changes:
    return changes_of(list(pairs["task"]), list(pairs["success_baseline"]), list(pairs["success_variant"]))


def _counted(pairs: pd.DataFrame, variant: Variant) -> Mapping[str, Any]:
    """What the pairs give without a verdict. The difference is the mean over suites, in percentage points."""
    if pairs.empty:
        return dict.fromkeys(NAMES, NO_PAIR) | {"pairs": 0}
    change = pairs["success_variant"].astype(float) - pairs["success_baseline"].astype(float)
    repaired, regressed = int((change > 0).sum()), int((change < 0).sum())
    return dict.fromkeys(NAMES, IS_REPEAT if variant.repeat else SEVERAL_SUITES) | {
        "pairs": len(pairs), "difference_points": 100.0 * float(change.groupby(pairs["suite"]).mean().mean()),
        "repaired": repaired, "regressed": regressed, "mcnemar_p": mcnemar_p(repaired, regressed)}


def _answer(run: RunData, variant: Variant, pairs: pd.DataFrame, margin: float) -> _Answer:
    changes = _changes(pairs)
    if not sequential(run):
        return _Answer(mcnemar_p(changes.repaired, changes.regressed), noninferiority_p(changes, margin),
                       paired_interval(changes))
    rounds = rounds_of(run, variant)
    found = standing(rounds, margin, len(comparisons(run)))
    looked_at = [sum(counts) for counts in zip(*rounds[:found.rounds], strict=True)] or [0, 0, 0]
    interval = anytime_interval(*looked_at) if rounds else (-1.0, 1.0)
    return _Answer(found.different_p, found.noninferior_p, interval)


def _variant(run: RunData, variant_id: str) -> Variant:
    return next(v for v in run.variants if v.variant_id == variant_id)
