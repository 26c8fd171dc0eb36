"""Our statistics against those of statsmodels, which is a dependency of the tests alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from reports.statistics import holm, mcnemar_p, wilson_interval

counts = st.integers(0, 60)


@given(counts, counts)
def test_wilson_interval(successes, failures):
    n = successes + failures + 1
    assert wilson_interval(successes, n) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)


@given(counts, counts)
def test_exact_mcnemar(repaired, regressed):
    expected = mcnemar([[0, repaired], [regressed, 0]], exact=True).pvalue if repaired + regressed else 1.0
    assert mcnemar_p(repaired, regressed) == pytest.approx(float(expected), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm(p_values):
    assert holm(p_values) == pytest.approx(np.asarray(multipletests(p_values, method="holm")[1]).tolist(), abs=1e-12)
