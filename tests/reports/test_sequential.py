from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.difference import ALPHA
from reports.sequential import (
    SHARES,
    WEIGHTS,
    Standing,
    anytime_interval,
    evidence_above,
    evidence_different,
    needed_rounds,
    standing,
)

TASKS, ROUNDS, REPLICATES, MARGIN = 10, 50, 1000, 0.02
SLACK = 2 * math.sqrt(ALPHA / REPLICATES)
"""Two standard errors of a simulated rate of ALPHA."""


def rounds_of(repaired: np.ndarray, regressed: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """`REPLICATES` comparisons; `repaired` and `regressed` are the chances in each task, float[TASKS]."""
    random = np.random.default_rng(4)
    luck = random.random((REPLICATES, ROUNDS, TASKS))
    up = (luck < repaired).sum(axis=2)
    down = ((luck >= repaired) & (luck < repaired + regressed)).sum(axis=2)
    return [[(TASKS, int(r), int(g)) for r, g in zip(a, b, strict=True)] for a, b in zip(up, down, strict=True)]


def evenly(value: float) -> np.ndarray:
    return np.full(TASKS, value)


def one_task(value: float) -> np.ndarray:
    return np.eye(TASKS)[3] * value


@pytest.mark.parametrize(("repaired", "regressed"), [
    (evenly(0.02), evenly(0.02)), (evenly(0.1), evenly(0.1)), (evenly(0.05), one_task(0.5)),
], ids=["few", "many", "one task pays for all"])
def test_equal_variants_are_called_different_in_at_most_one_of_twenty_runs(repaired, regressed):
    looks = (np.cumsum(r, axis=0).tolist() for r in rounds_of(repaired, regressed))
    found = [max(evidence_different(*counts) for counts in look) >= -math.log(ALPHA) for look in looks]
    assert np.mean(found) <= ALPHA + SLACK


@pytest.mark.parametrize(("repaired", "regressed"), [
    (evenly(0.0), evenly(0.02)), (evenly(0.04), evenly(0.06)), (evenly(0.0), one_task(0.2)),
], ids=["few", "many", "one task is hurt"])
def test_a_variant_at_the_margin_is_called_non_inferior_in_at_most_one_of_twenty_runs(repaired, regressed):
    found = [standing(r, MARGIN, 1).noninferior_p <= ALPHA for r in rounds_of(repaired, regressed)]
    assert np.mean(found) <= ALPHA + SLACK


@pytest.mark.parametrize(("repaired", "regressed"), [(0.0, 0.0), (0.02, 0.05), (0.05, 0.3)])
def test_the_interval_covers_the_truth_whenever_one_stops(repaired, regressed):
    covered = []
    for rounds in rounds_of(evenly(repaired), evenly(regressed))[:300]:
        n, up, down = np.cumsum(rounds[:standing(rounds, MARGIN, 1).rounds], axis=0)[-1].tolist()
        low, high = anytime_interval(n, up, down)
        covered.append(low <= repaired - regressed <= high)
    assert np.mean(covered) >= 0.95


def test_a_variant_that_repeats_every_outcome_needs_a_part_of_five_hundred_pairs():
    (same, *_) = rounds_of(evenly(0.0), evenly(0.0))
    assert standing(same, MARGIN, 1).decided == "non-inferior"
    assert standing(same, MARGIN, 1).rounds * TASKS == 180
    assert standing(same, MARGIN, 5).rounds > standing(same, MARGIN, 1).rounds


def test_a_broken_variant_is_found_out_within_a_few_rounds():
    found = [standing(r, MARGIN, 1) for r in rounds_of(evenly(0.0), evenly(0.6))]
    assert {s.decided for s in found} == {"worse"}
    assert np.mean([s.rounds for s in found]) < 3


def test_nothing_is_decided_without_evidence():
    assert standing([], MARGIN, 1) == Standing(0, None, 1.0, 1.0)


counts = st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(0, 20)).filter(sum)


@given(counts, st.floats(-0.9, 0.9))
def test_the_stake_is_the_product_of_its_bets(count, delta):
    ties, repaired, regressed = count
    n, most = sum(count), 1 / (1 + delta)
    stake = sum(w * (1 + s * most * (1 - delta))**repaired * (1 - s * most * delta)**ties
                * (1 - s * most * (1 + delta))**regressed for s, w in zip(SHARES, WEIGHTS, strict=True))
    assert evidence_above(n, repaired, regressed, delta) == pytest.approx(math.log(stake), rel=1e-6, abs=1e-6)


@given(st.integers(0, 20), st.floats(-0.9, 0.9))
def test_a_bet_is_fair_on_average_at_the_tested_difference(pairs, delta):
    """One pair, regressed with chance p and repaired with chance p + delta: the expected stake is 1."""
    regressed = (1 - abs(delta)) / 4 + max(-delta, 0)
    repaired = regressed + delta
    stake = (repaired * math.exp(evidence_above(1, 1, 0, delta)) + regressed * math.exp(evidence_above(1, 0, 1, delta))
             + (1 - repaired - regressed) * math.exp(evidence_above(1, 0, 0, delta)))
    assert stake == pytest.approx(1.0)


@given(counts)
def test_turning_the_roles_turns_the_interval(count):
    ties, repaired, regressed = count
    low, high = anytime_interval(sum(count), repaired, regressed)
    assert (-high, -low) == pytest.approx(anytime_interval(sum(count), regressed, repaired))
    assert low <= (repaired - regressed) / sum(count) <= high
    assert evidence_different(sum(count), repaired, regressed) == pytest.approx(
        evidence_different(sum(count), regressed, repaired))


def test_an_undecided_variant_needs_every_round_and_a_decided_one_no_more():
    same, broken = [(TASKS, 0, 0)] * 5, [(TASKS, 0, 8)] * 5
    assert needed_rounds({"a": same, "b": broken}, 50, MARGIN) == {"a": 50, "b": 1}
