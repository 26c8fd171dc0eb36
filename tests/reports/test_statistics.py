import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.statistics import holm, mcnemar_p, wilson_interval


@pytest.mark.parametrize(("successes", "n", "low", "high"), [
    (0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
])
def test_wilson_interval_equals_published_values(successes, n, low, high):
    # 81/263, 15/148, 0/20 and 1/29 are Table I of Newcombe, Statistics in Medicine 17 (1998), method 3.
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_rate_and_mirrors(counts):
    successes, n = counts
    low, high = wilson_interval(successes, n)
    assert 0.0 <= low <= successes / n + 1e-12 and successes / n - 1e-12 <= high <= 1.0
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_have_no_interval(successes, n):
    with pytest.raises(ValueError, match="legal are"):
        wilson_interval(successes, n)


@pytest.mark.parametrize(("repaired", "regressed", "p"), [
    (0, 0, 1.0), (1, 0, 1.0), (3, 3, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (2, 8, 0.109375), (1, 9, 0.021484375),
])
def test_mcnemar_p_equals_the_binomial_tail(repaired, regressed, p):
    assert mcnemar_p(repaired, regressed) == pytest.approx(p)
    assert mcnemar_p(regressed, repaired) == pytest.approx(p)


def test_holm_multiplies_the_least_p_most_and_never_reorders():
    """Worked by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03 and 0.04, which may not come out below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
