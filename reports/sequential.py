"""Comparisons that end as soon as the verdict is certain, without more false alarms than a fixed number of episodes.

A bet is made on every pair of episodes. The stake grows by a factor 1 + b (d - delta), where d is +1 if the variant
repaired the episode, -1 if it regressed and 0 otherwise; b is chosen before the pair is seen. If the true difference is
`delta` or less, the expected stake never grows, so the chance that it ever reaches 1 / alpha is at most alpha, however
often one looks (Ville's inequality; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", JRSS B 86 (2024)). Several b play at once, each with a part of the stake.

Tasks differ: a variant may be equal on nine tasks and lost on the tenth. Pairs are therefore played in rounds, one
episode of every task, with b constant, and the stake is looked at after whole rounds only. Within a round the product
of the expected factors is at most their mean to the power of the number of tasks, so what is tested is the mean over
the tasks, as in a comparison of fixed length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reports.difference import ALPHA

SHARES = tuple(2.0**-k for k in range(6))
"""Bets, as shares of the greatest one that cannot lose more than the stake."""

WEIGHTS = tuple(share / sum(SHARES) for share in SHARES)
"""Part of the stake that each plays with: most on the bets that pay while hardly a pair differs."""

Round = tuple[int, int, int]
"""(pairs, repaired, regressed) of one episode of every task."""


@dataclass(frozen=True)
class Standing:
    """What the rounds so far say about one variant."""

    rounds: int
    """Rounds that are looked at: those up to the decision, or all."""
    decided: Literal["non-inferior", "worse", "better"] | None
    """The verdict that became certain first."""
    different_p: float
    """p of "no difference", however often one looked."""
    noninferior_p: float
    """p of "worse by the margin or more", however often one looked."""


def evidence_above(n: int, repaired: int, regressed: int, delta: float) -> float:
    """The logarithm of the stake that was won against "the difference is `delta` or less"."""
    most, logs = 1 / (1 + delta), []
    for share, weight in zip(SHARES, WEIGHTS, strict=True):
        bet = share * most
        if regressed and share == 1:
            continue  # this one has lost its all
        won = repaired * math.log1p(bet * (1 - delta)) + (n - repaired - regressed) * math.log1p(-bet * delta)
        logs.append(math.log(weight) + won + (regressed * math.log1p(-share) if regressed else 0.0))
    peak = max(logs)
    return peak + math.log(sum(math.exp(x - peak) for x in logs))


def evidence_different(n: int, repaired: int, regressed: int) -> float:
    """The logarithm of the stake won against "no difference", half of it on either side; ties say nothing."""
    up, down = evidence_above(n, repaired, regressed, 0.0), evidence_above(n, regressed, repaired, 0.0)
    peak = max(up, down)
    return peak + math.log((math.exp(up - peak) + math.exp(down - peak)) / 2)


def standing(rounds: Sequence[Round], margin: float, comparisons: int) -> Standing:
    """Look after every round; `comparisons` variants share the chance of a false verdict (Bonferroni)."""
    threshold = math.log(comparisons / ALPHA)
    most_different = most_noninferior = 0.0
    n = repaired = regressed = 0
    for number, (pairs, better, worse) in enumerate(rounds, start=1):
        n, repaired, regressed = n + pairs, repaired + better, regressed + worse
        most_different = max(most_different, evidence_different(n, repaired, regressed))
        most_noninferior = max(most_noninferior, evidence_above(n, repaired, regressed, -margin))
        if max(most_different, most_noninferior) >= threshold:
            if most_different >= threshold:
                decided = "better" if repaired > regressed else "worse"
            else:
                decided = "non-inferior"
            return Standing(number, decided, math.exp(-most_different), math.exp(-most_noninferior))
    return Standing(len(rounds), None, math.exp(-most_different), math.exp(-most_noninferior))


def anytime_interval(n: int, repaired: int, regressed: int) -> tuple[float, float]:
    """95 % interval of the difference, as two fractions, that holds whenever one stops (a confidence sequence)."""
    return _lower(n, repaired, regressed), -_lower(n, regressed, repaired)


def needed_rounds(rounds: Mapping[str, Sequence[Round]], planned: int, margin: float) -> dict[str, int]:
    """variant -> rounds that it needs: up to its decision, or all that are planned. All are comparisons of one run."""
    found = {name: standing(played, margin, len(rounds)) for name, played in rounds.items()}
    return {name: planned if s.decided is None else s.rounds for name, s in found.items()}


def _lower(n: int, repaired: int, regressed: int) -> float:
    """The least difference that the evidence leaves possible, by bisection: evidence falls as `delta` rises."""
    low, high, wanted = -1 + 1e-9, (repaired - regressed) / n, math.log(2 / ALPHA)
    if high <= low or evidence_above(n, repaired, regressed, low) < wanted:
        return -1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if evidence_above(n, repaired, regressed, middle) >= wanted else (low, middle)
    return low
