"""A pytest plug-in with the regression gate as a fixture.

    def test_my_checkpoint_is_no_worse(qvla_check):
        qvla_check("variants/mine", "baseline.json")                      # no simulator
        qvla_check("variants/mine", "baseline.json", mode="closed-loop")  # plays the episodes
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def qvla_check(tmp_path: Path) -> Callable[..., None]:
    """`qvla_check(policy, baseline, mode="fast")` fails the test with the summary unless every finding has passed."""
    def run(policy: str | Path, baseline: str | Path, mode: str = "fast") -> None:
        from bench.check import check, markdown

        findings = check(Path(policy), Path(baseline), mode, tmp_path)
        if not all(finding.passed for finding in findings):
            pytest.fail(markdown(findings, Path(policy), mode), pytrace=False)

    return run
