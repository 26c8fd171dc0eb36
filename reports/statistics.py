"""What counted episodes allow to be said: intervals and paired comparisons.

Pure functions of counts and outcomes; nothing here knows what a run is.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binomtest

CONFIDENCE = 0.95
"""Coverage of every interval in a report."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a success rate, as two fractions.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). Raises `ValueError`
    unless 0 <= successes <= n and n >= 1: without an episode there is no rate.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} episodes: legal are n >= 1 and 0 <= successes <= n")
    interval = binomtest(successes, n).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_p(repaired: int, regressed: int) -> float:
    """The exact two-sided McNemar p of the pairs that differ.

    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947), with the exact binomial distribution in place of chi-square: the counts are small.
    """
    differing = repaired + regressed
    return 1.0 if differing == 0 else float(binomtest(repaired, differing, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several, in the same order; the chance of any false verdict stays what it was.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted
