"""What counted episodes allow to be said: intervals and paired comparisons.

Pure functions of counts and outcomes; nothing here knows what a run is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

CONFIDENCE = 0.95
"""Coverage of every interval in a report."""


@dataclass(frozen=True)
class Pairs:
    """A variant against its baseline over the episodes that both finished."""

    n: int
    """Pairs of episodes with equal keys."""
    repaired: int
    """Pairs in which the baseline failed and the variant succeeded."""
    regressed: int
    """Pairs in which the baseline succeeded and the variant failed."""
    p_value: float
    """Exact two-sided McNemar p; 1.0 if no pair differs."""


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


def compare_pairs(baseline: Sequence[bool], variant: Sequence[bool]) -> Pairs:
    """Compare the outcomes of two variants, episode i of one with episode i of the other.

    Raises `ValueError` if the two have different lengths.
    """
    pairs = list(zip(baseline, variant, strict=True))
    repaired = sum(after and not before for before, after in pairs)
    regressed = sum(before and not after for before, after in pairs)
    return Pairs(len(pairs), repaired, regressed, mcnemar_p(repaired, regressed))
