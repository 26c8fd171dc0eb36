from __future__ import annotations

import dataclasses

import pytest

from bench.pool import EnvironmentPool
from envs.toy import ToyEnvironment
from envs.types import OSC_POSE, SpecMismatch


@pytest.fixture
def closed(monkeypatch) -> list[int]:
    closed: list[int] = []
    monkeypatch.setattr(ToyEnvironment, "close", lambda self: closed.append(self.task.index))
    return closed


def test_a_task_stays_open_until_the_pool_is_full(closed, still):
    with EnvironmentPool("toy", "none", "none", capacity=1) as pool:
        first = pool.get(0, still())
        assert pool.get(0, still()) is first and closed == []
        pool.get(1, still())
        assert closed == [0]
    assert closed == [0, 1]


def test_a_dropped_environment_is_opened_afresh(closed, still):
    with EnvironmentPool("toy", "none", "none") as pool:
        first = pool.get(0, still())
        pool.drop(first)
        assert closed == [0] and pool.get(0, still()) is not first


def test_a_policy_with_another_action_convention_is_refused(still):
    policy = still()
    policy.action_spec = dataclasses.replace(OSC_POSE, control_hz=10.0)
    with EnvironmentPool("toy", "none", "none") as pool, pytest.raises(SpecMismatch, match="control_hz"):
        pool.get(0, policy)
