"""How large the difference between two paired variants is, and whether it stays within a margin.

The episodes of one task resemble each other, so an interval that takes every pair for an independent one may be too
narrow; the spread between the tasks alone is a poor witness when tasks are few or no pair differs. `paired_interval`
therefore reports the wider of the two at either end, and `noninferiority_p` the larger of the two p-values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

from reports.statistics import CONFIDENCE

ALPHA = 1 - CONFIDENCE
"""Greatest p-value at which a verdict is given."""

POWER = 0.8
"""Chance to show non-inferiority of an equal variant for which `pairs_for_margin` plans."""


@dataclass(frozen=True)
class Changes:
    """The pairs of one comparison."""

    per_task: tuple[tuple[int, int, int], ...]
    """One (pairs, repaired, regressed) for each task that has a pair."""

    def __post_init__(self) -> None:
        wrong = [c for c in self.per_task if not (min(c) >= 0 and c[1] + c[2] <= c[0] and c[0] >= 1)]
        if wrong or not self.per_task:
            raise ValueError("each task needs at least one pair, and repaired + regressed <= pairs; "
                             f"got {wrong or 'no task'}")

    @property
    def n(self) -> int:
        """Pairs."""
        return sum(pairs for pairs, _, _ in self.per_task)

    @property
    def repaired(self) -> int:
        """Pairs in which only the variant succeeded."""
        return sum(repaired for _, repaired, _ in self.per_task)

    @property
    def regressed(self) -> int:
        """Pairs in which only the baseline succeeded."""
        return sum(regressed for _, _, regressed in self.per_task)

    @property
    def difference(self) -> float:
        """Success rate of the variant minus that of the baseline."""
        return (self.repaired - self.regressed) / self.n


def changes_of(tasks: Sequence[object], baseline: Sequence[bool], variant: Sequence[bool]) -> Changes:
    """Count the pairs of each task; pair i has task, baseline outcome and variant outcome i."""
    counts: dict[object, list[int]] = {}
    for task, before, after in zip(tasks, baseline, variant, strict=True):
        count = counts.setdefault(task, [0, 0, 0])
        count[0] += 1
        count[1] += bool(after and not before)
        count[2] += bool(before and not after)
    return Changes(tuple((n, repaired, regressed) for n, repaired, regressed in counts.values()))


def paired_interval(changes: Changes, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of the difference, as two fractions: at either end the wider of score and task-clustered interval."""
    ends = [score_interval(changes.n, changes.repaired, changes.regressed, confidence)]
    error = _clustered_error(changes)
    if error is not None:
        reach = float(t.ppf((1 + confidence) / 2, len(changes.per_task) - 1)) * error
        ends.append((max(changes.difference - reach, -1.0), min(changes.difference + reach, 1.0)))
    return min(low for low, _ in ends), max(high for _, high in ends)


def score_interval(n: int, repaired: int, regressed: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Score interval of a difference of paired rates, pairs taken as independent; never empty, also without a change.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17 (1998).
    """
    z = float(norm.ppf((1 + confidence) / 2))
    difference = (repaired - regressed) / n

    def end(sign: float) -> float:
        edge = sign * (1 - 1e-12)
        if sign * (_score(n, repaired, regressed, edge) + sign * z) >= 0:
            return sign * 1.0
        return float(brentq(lambda delta: _score(n, repaired, regressed, delta) + sign * z, difference, edge))

    low = -1.0 if difference == -1 else end(-1.0)
    return low, 1.0 if difference == 1 else end(1.0)


def noninferiority_p(changes: Changes, margin: float) -> float:
    """One-sided p of "the variant is worse by `margin` (a fraction) or more"; small means it is not.

    The larger of Tango's score p, for independent pairs, and the p of a t test between the tasks.
    """
    if not 0 < margin < 1:
        raise ValueError(f"a margin is a fraction between 0 and 1, got {margin}")
    p = float(norm.sf(_score(changes.n, changes.repaired, changes.regressed, -margin)))
    error = _clustered_error(changes)
    if error is not None and error > 0:
        p = max(p, float(t.sf((changes.difference + margin) / error, len(changes.per_task) - 1)))
    return p


def pairs_for_margin(changes: Changes, margin: float) -> int:
    """Pairs with which an equal variant would be found non-inferior with `POWER`, if as many of them differ as here.

    Pairs are taken as independent. Never fewer than it takes when not a single pair differs, for the score test does
    not take a short run of equal outcomes for a proof.
    """
    z = float(norm.isf(ALPHA))
    discordance = (changes.repaired + changes.regressed) / changes.n
    without_change = z**2 * (1 - margin) / margin
    return math.ceil(max(without_change, (z + float(norm.ppf(POWER))) ** 2 * discordance / margin**2))


def _score(n: int, repaired: int, regressed: int, delta: float) -> float:
    """Tango's statistic: how many standard errors the difference lies above `delta`, with the error under `delta`."""
    a, b, c = 2 * n, -repaired - regressed + (2 * n - repaired + regressed) * delta, -regressed * delta * (1 - delta)
    rate = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * rate + delta * (1 - delta))
    excess = repaired - regressed - n * delta
    if variance <= 0:
        return math.copysign(math.inf, excess) if excess else 0.0
    return excess / math.sqrt(variance)


def _clustered_error(changes: Changes) -> float | None:
    """Standard error of the difference from the spread between the tasks; None for a single task.

    Miller, "Adding error bars to evals", arXiv 2411.00640, section 2.2, with the factor G / (G - 1) for G tasks.
    """
    groups = len(changes.per_task)
    if groups < 2:
        return None
    counts = np.array(changes.per_task, dtype=np.float64)
    residual = counts[:, 1] - counts[:, 2] - counts[:, 0] * changes.difference
    return float(np.sqrt(groups / (groups - 1) * np.sum(residual**2)) / changes.n)
