from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from bench.errors import StoreFull
from bench.protocol import PROTOCOLS
from bench.rollout import rollout
from envs.toy import open_task
from envs.types import OSC_POSE
from policies.scripted import ToyScripted

OFT = PROTOCOLS["oft"]


class Listener:
    name = "listener"

    def __init__(self) -> None:
        self.decisions, self.steps, self.saved = [], [], 0

    def on_decision(self, step, observation, chunk):
        self.decisions.append(step)

    def on_step(self, step, decision, action, result):
        self.steps.append((step, decision, result.observation is not None))

    def save(self):
        self.saved += 1


@pytest.fixture
def env():
    return open_task("toy", 0, 16, "none", privileged=True)


def test_the_scripted_policy_succeeds(env, key):
    record = rollout(env, ToyScripted(), key, OFT, trace="t")
    assert (record.outcome, record.reason, record.trace) == ("success", None, "t")
    assert (record.protocol, record.stepping) == ("oft", "none")
    assert 0 < record.steps < OFT.cap("toy")
    assert len(record.latencies_ms) == -(-record.steps // 8)


def test_a_policy_that_does_nothing_fails_at_the_cap(env, key, still):
    record = rollout(env, still(), key, OFT)
    assert (record.outcome, record.steps, len(record.latencies_ms)) == ("failure", 80, 10)


def test_the_world_is_looked_at_only_when_the_policy_decides(env, key, still):
    looks = []
    env.render, render = lambda camera, size: looks.append(camera) or render(camera, size), env.render
    record = rollout(env, still(), key, OFT)
    assert len(looks) == 2 * len(record.latencies_ms)


def test_recorders_hear_every_decision_and_step_and_no_settling(env, key, still):
    listener = Listener()
    rollout(env, still(), key, dataclasses.replace(OFT, max_steps={"toy": 20}), [listener])
    assert listener.decisions == [0, 8, 16]
    assert [step for step, _, _ in listener.steps] == list(range(20))
    assert [decision for _, decision, _ in listener.steps] == [0] * 8 + [1] * 8 + [2] * 4
    assert [step for step, _, observed in listener.steps if observed] == [7, 15]
    assert listener.saved == 1


def test_a_chunk_shorter_than_the_replanning_interval_is_executed_whole(env, key, still):
    policy = still(horizon=3)
    record = rollout(env, policy, key, dataclasses.replace(OFT, max_steps={"toy": 9}))
    assert (record.steps, policy.calls) == (9, 3)


def test_without_settling_the_first_look_is_at_the_reset(env, key, still):
    record = rollout(env, still(), key, dataclasses.replace(OFT, settle_steps=0))
    assert record.outcome == "failure"


def with_value(value: float, dim: int = 3) -> np.ndarray:
    chunk = np.tile(np.float32(OSC_POSE.hold), (8, 1))
    chunk[5, dim] = value
    return chunk


@pytest.mark.parametrize(("chunk", "reason"), [
    (with_value(np.nan), "not finite"), (with_value(np.inf, 6), "not finite"), (with_value(1.01), "legal range"),
    (np.zeros((8, 6), np.float32), "shape"), (np.zeros((0, 7), np.float32), "shape"),
    (np.zeros(7, np.float32), "shape"),
])
def test_an_action_that_no_robot_should_be_sent_is_an_error_before_it_is_executed(env, key, still, chunk, reason):
    listener = Listener()
    record = rollout(env, still(answer=lambda call: chunk), key, OFT, [listener], trace="t")
    assert (record.outcome, record.steps, record.trace) == ("error", 0, None)
    assert "ActionError" in record.reason and reason in record.reason
    assert listener.saved == 0


def test_an_exception_of_the_policy_is_an_error_that_says_where(env, key, still):
    def answer(call):
        if call == 3:
            raise RuntimeError("out of ideas")
        return with_value(0.0)

    record = rollout(env, still(answer=answer), key, OFT)
    assert (record.outcome, record.steps) == ("error", 16)
    assert record.reason.startswith("RuntimeError: out of ideas") and "test_rollout.py" in record.reason


def test_an_exception_of_the_environment_is_an_error(env, key, still):
    env.reset = lambda *args, **kwargs: 1 / 0
    assert "ZeroDivisionError" in rollout(env, still(), key, OFT).reason


def test_an_interrupt_is_not_an_episode(env, key, still):
    def answer(call):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rollout(env, still(answer=answer), key, OFT)


def test_the_policy_gets_the_noise_of_the_key(env, key, still):
    policy = still()
    rollout(env, policy, key, OFT)
    assert policy.noise_key == key.noise_key()


def test_values_that_no_robot_should_be_sent_are_counted(env, key, still):
    chunk = with_value(0.0)
    chunk[2, 1], chunk[4, 0], chunk[4, 6] = np.nan, 1.5, -np.inf
    record = rollout(env, still(answer=lambda call: chunk), key, OFT)
    assert "of 56 values of the plan 2 are not finite and 1 leave the legal range [-1.0, 1.0]" in record.reason
    assert "first: nan in dimension 1 of action 2" in record.reason


def test_the_time_of_every_recorder_is_kept_apart(env, key, still):
    class Slow(Listener):
        name = "slow"

        def on_step(self, step, decision, action, result):
            time.sleep(0.001)

    record = rollout(env, still(), key, dataclasses.replace(OFT, max_steps={"toy": 20}), [Listener(), Slow()])
    assert set(record.recording_s) == {"listener", "slow", "saving"}
    assert 0.02 <= record.recording_s["slow"] < record.wall_s and record.recording_s["listener"] < 0.01


def test_what_cannot_be_saved_is_an_error_of_the_episode_and_a_full_disk_the_end_of_the_run(env, key, still):
    class Unable(Listener):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        def save(self):
            raise self.error

    record = rollout(env, still(), key, OFT, [Unable(OSError(12, "Cannot allocate memory"))], trace="t")
    assert (record.outcome, record.trace) == ("error", None) and "while saving: OSError" in record.reason
    with pytest.raises(StoreFull):
        rollout(env, still(), key, OFT, [Unable(StoreFull("no room"))])
