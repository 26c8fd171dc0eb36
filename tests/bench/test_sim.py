"""The comparison of loops takes turns, leaves the warm-up out, and composes episodes of what it measured."""

from __future__ import annotations

import numpy as np
import pytest

from bench.sim import episode_seconds, in_turns, per_call, ratio
from bench.stock import CHUNK, chunk_of


class Recorded:
    """A loop that notes when it is called."""

    def __init__(self, name: str, calls: list):
        self._name, self._calls = name, calls

    def reset(self, number: int) -> float:
        self._calls.append((self._name, "reset"))
        return float(number)

    def chunk(self, number: int) -> float:
        self._calls.append((self._name, "chunk"))
        return 10.0 * number


def test_loops_take_turns_and_the_first_turn_does_not_count():
    calls: list = []
    times = in_turns({name: Recorded(name, calls) for name in ("a", "b")}, rounds=2)
    assert calls == 3 * [("a", "reset"), ("b", "reset"), ("a", "chunk"), ("b", "chunk")]
    assert times["b"] == {"reset": [1.0, 2.0], "chunk": [10.0, 20.0]}


def test_an_episode_is_one_reset_and_its_chunks():
    assert episode_seconds({"reset": [1.0], "chunk": [0.5]}, 3 * CHUNK).tolist() == [2.5]


def test_a_ratio_is_the_median_within_turns_with_its_spread_and_n():
    assert ratio([2.0, 40.0, 9.0], [1.0, 10.0, 3.0]) == {"median": 3.0, "spread": 1.0, "n": 3}


def test_the_time_of_one_call_is_its_share(monkeypatch):
    clock = iter([0.0, 6.0])
    monkeypatch.setattr("bench.stock.time.perf_counter", lambda: next(clock))
    calls = []
    assert per_call(lambda: calls.append(1), 3) == pytest.approx(2.0) and len(calls) == 3


def test_the_stand_in_policy_plans_the_same_legal_chunk_for_the_same_seed():
    assert chunk_of(4).shape == (CHUNK, 7) and abs(chunk_of(4)).max() <= 1.0
    np.testing.assert_array_equal(chunk_of(4), chunk_of(4))
