from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.difference import (
    ALPHA,
    Changes,
    changes_of,
    noninferiority_p,
    paired_interval,
    pairs_for_margin,
    score_interval,
)
from reports.statistics import mcnemar_p

REPLICATES, TASKS, TRIALS = 2000, 10, 20

counts = st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(0, 20)).map(
    lambda c: (c[0] + c[1] + c[2], c[1], c[2])).filter(lambda c: c[0] > 0)


@pytest.mark.parametrize(("n", "repaired", "regressed", "confidence", "low", "high"), [
    # As the tests of the R package ratesci (0.3-0) quote them: Tango, Statistics in Medicine 17 (1998), two examples;
    # Agresti and Min, Statistics in Medicine 24 (2005); Fagerland, Lydersen, Laake, Statistics in Medicine 33 (2014).
    (32, 9, 3, 0.95, -0.027, 0.390), (44, 0, 1, 0.90, -0.096, 0.037),
    (86, 16, 8, 0.95, -0.020, 0.207), (21, 1, 7, 0.95, -0.517, -0.026),
])
def test_the_score_interval_equals_published_values(n, repaired, regressed, confidence, low, high):
    assert score_interval(n, repaired, regressed, confidence) == pytest.approx((low, high), abs=5e-4)


def test_without_a_change_the_interval_still_has_the_width_that_so_few_pairs_leave():
    assert score_interval(20, 0, 0) == pytest.approx((-3.8415 / 23.8415, 3.8415 / 23.8415), abs=1e-4)
    assert score_interval(1, 0, 1)[0] == -1 and score_interval(1, 1, 0)[1] == 1


@given(counts)
def test_variant_and_baseline_in_turned_roles_turn_the_interval(count):
    n, repaired, regressed = count
    low, high = score_interval(n, repaired, regressed)
    assert (-high, -low) == pytest.approx(score_interval(n, regressed, repaired), abs=1e-6)
    assert -1 <= low <= (repaired - regressed) / n <= high <= 1


@given(counts)
def test_one_sided_p_and_interval_say_the_same(count):
    changes = Changes((count,))
    low, _ = paired_interval(changes, 1 - 2 * ALPHA)
    if abs(low + 0.05) > 1e-6:
        assert (noninferiority_p(changes, 0.05) < ALPHA) == (low > -0.05)


def test_tasks_that_disagree_widen_the_interval():
    even, uneven = Changes(((20, 2, 2),) * 5), Changes(((20, 0, 10), (20, 10, 0), (20, 0, 0), (20, 0, 0), (20, 0, 0)))
    assert even.difference == uneven.difference == 0
    assert np.ptp(paired_interval(uneven)) > 2 * np.ptp(paired_interval(even))
    assert noninferiority_p(uneven, 0.05) > noninferiority_p(even, 0.05)


def test_pairs_are_counted_by_task():
    changes = changes_of(["a", "a", "b"], [True, False, True], [False, True, True])
    assert changes.per_task == ((2, 1, 1), (1, 0, 0))
    assert (changes.n, changes.repaired, changes.regressed, changes.difference) == (3, 1, 1, 0)


@pytest.mark.parametrize("per_task", [(), ((0, 0, 0),), ((1, 1, 1),), ((2, -1, 0),)])
def test_counts_that_cannot_be_are_refused(per_task):
    with pytest.raises(ValueError, match="each task needs"):
        Changes(per_task)


@pytest.mark.parametrize(("discordance", "pairs"), [(0.02, 310), (0.04, 619), (0.08, 1237)])
def test_the_pairs_that_a_margin_takes_follow_from_the_discordance(discordance, pairs):
    n = 10_000
    half = round(n * discordance / 2)
    assert pairs_for_margin(Changes(((n, half, half),)), 0.02) == pytest.approx(pairs, abs=1)


def test_it_takes_133_equal_pairs_to_show_a_margin_of_two_points():
    wanted = pairs_for_margin(Changes(((5, 0, 0),)), 0.02)
    assert wanted == 133
    assert noninferiority_p(Changes(((wanted, 0, 0),)), 0.02) < ALPHA < noninferiority_p(
        Changes(((wanted - 1, 0, 0),)), 0.02)


def simulated(repaired: float, regressed: float, spread: float) -> list[Changes]:
    """Comparisons of `TASKS` tasks; each draws how much more or less it is hurt than the others."""
    random = np.random.default_rng(20)
    found = []
    for _ in range(REPLICATES):
        shift = random.uniform(-spread, spread, TASKS)
        chances = np.stack([repaired + shift, regressed - shift, 1 - repaired - regressed + 0 * shift], axis=1)
        drawn = random.multinomial(TRIALS, chances)
        found.append(Changes(tuple((TRIALS, int(r), int(g)) for r, g, _ in drawn)))
    return found


@cache
def _mcnemar(repaired: int, regressed: int) -> float:
    return mcnemar_p(repaired, regressed)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.15])
def test_equal_variants_are_told_apart_in_at_most_one_of_twenty_comparisons(rate):
    wrong = np.mean([_mcnemar(c.repaired, c.regressed) <= ALPHA for c in simulated(rate, rate, 0.0)])
    assert wrong <= ALPHA + 2 * math.sqrt(ALPHA / REPLICATES)


@pytest.mark.parametrize(("repaired", "regressed", "spread"), [
    (0.01, 0.03, 0.0), (0.04, 0.06, 0.0), (0.04, 0.06, 0.04), (0.10, 0.12, 0.10),
])
def test_a_variant_at_the_margin_is_called_non_inferior_in_at_most_one_of_twenty(repaired, regressed, spread):
    wrong = np.mean([noninferiority_p(c, 0.02) <= ALPHA for c in simulated(repaired, regressed, spread)])
    assert wrong <= ALPHA + 2 * math.sqrt(ALPHA / REPLICATES)


@pytest.mark.parametrize(("repaired", "regressed", "spread"), [
    (0.005, 0.005, 0.0), (0.02, 0.05, 0.0), (0.02, 0.05, 0.02), (0.10, 0.20, 0.10), (0.05, 0.60, 0.05),
])
def test_the_interval_covers_the_truth_in_95_of_100_comparisons(repaired, regressed, spread):
    truth = repaired - regressed
    ends = [paired_interval(c) for c in simulated(repaired, regressed, spread)]
    assert np.mean([low <= truth <= high for low, high in ends]) >= 0.95 - 2 * math.sqrt(0.05 / REPLICATES)
