"""Two groups of trials of which nobody says that trial i of the one began like trial i of the other."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.stats import binomtest, fisher_exact

from reports.statistics import CONFIDENCE

LEAST_P, MOST_P = 1e-9, 0.5
"""Between these a one-sided p is searched for; beyond them it is only said that it is smaller or larger."""


def difference_interval(successes: tuple[int, int], trials: tuple[int, int],
                        confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of rate 1 minus rate 0, as fractions; `successes[i]` of `trials[i]`.

    Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
    (1998), method 10: the two Wilson intervals combined. Never empty, also for 0 of 10 and 10 of 10.
    """
    rates = [s / n for s, n in zip(successes, trials, strict=True)]
    ends = [binomtest(s, n).proportion_ci(confidence, method="wilson") for s, n in zip(successes, trials, strict=True)]
    difference = rates[1] - rates[0]
    below = math.hypot(rates[1] - ends[1].low, ends[0].high - rates[0])
    above = math.hypot(ends[1].high - rates[1], rates[0] - ends[0].low)
    return difference - below, difference + above


def difference_p(successes: tuple[int, int], trials: tuple[int, int]) -> float:
    """Two-sided p of "both rates are equal": Fisher's exact test."""
    table = [[s, n - s] for s, n in zip(successes, trials, strict=True)]
    return float(fisher_exact(table).pvalue)


def worse_p(successes: tuple[int, int], trials: tuple[int, int], margin: float) -> float:
    """One-sided p of "rate 1 is lower than rate 0 by `margin` (a fraction) or more".

    The level at which the lower end of `difference_interval` reaches the margin; `MOST_P` or `LEAST_P` where that is
    beyond them.
    """
    def excess(p: float) -> float:
        return difference_interval(successes, trials, 1 - 2 * p)[0] + margin

    if excess(MOST_P - 1e-12) <= 0:
        return MOST_P
    return LEAST_P if excess(LEAST_P) >= 0 else float(brentq(excess, LEAST_P, MOST_P - 1e-12))
