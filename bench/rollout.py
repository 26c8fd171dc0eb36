"""One key in, one record out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from bench.memory import PeakMemory
from bench.protocol import Protocol
from bench.recorders import Recorder
from bench.records import EpisodeRecord
from bench.spec import EpisodeKey
from envs.types import ActionError, Environment, Observation
from policies.base import Policy

TRACEBACK_FRAMES = 3
"""Innermost frames of an exception that a record keeps."""


@dataclass
class _Tally:
    """What is known of the running episode; survives an exception in the middle of it."""

    steps: int = 0
    latencies_ms: list[float] = field(default_factory=list)


def rollout(env: Environment, policy: Policy, key: EpisodeKey, protocol: Protocol,
            recorders: Sequence[Recorder] = (), trace: str | None = None) -> EpisodeRecord:
    """Play the episode `key`.

    An exception of the environment or the policy, or an action that no robot should be sent, gives a record with
    outcome "error", never a failure; an interrupt by the user propagates.
    """
    tally, memory, began = _Tally(), PeakMemory(), time.perf_counter()
    try:
        outcome, reason = "success" if _play(env, policy, key, protocol, recorders, tally) else "failure", None
    except Exception as error:
        outcome, reason = "error", one_line(error)
    if outcome != "error":
        for recorder in recorders:
            recorder.save()
    return EpisodeRecord(
        key, env.task.name, env.task.instruction, outcome, reason, tally.steps, tuple(tally.latencies_ms),
        time.perf_counter() - began, memory.peak_bytes(), None if outcome == "error" else trace,
        datetime.now(UTC).isoformat(timespec="seconds"), protocol.name, env.stepping)


def _play(env: Environment, policy: Policy, key: EpisodeKey, protocol: Protocol, recorders: Sequence[Recorder],
          tally: _Tally) -> bool:
    """Whether the goal was reached within the cap."""
    policy.reset(key.noise_key())
    observation = _settled(env, key, protocol)
    cap = protocol.cap(key.suite)
    while True:
        began = time.perf_counter()
        chunk = policy.act([observation])[0]
        tally.latencies_ms.append((time.perf_counter() - began) * 1e3)
        plan = _plan(env, chunk, min(protocol.replan_every, cap - tally.steps), protocol.binarize_gripper)
        for recorder in recorders:
            recorder.on_decision(tally.steps, observation, chunk)
        for index, action in enumerate(plan, start=1):
            result = env.step(action, observe=index == len(plan) and tally.steps + 1 < cap)
            for recorder in recorders:
                recorder.on_step(tally.steps, len(tally.latencies_ms) - 1, action, result)
            tally.steps += 1
            if result.success or result.truncated or tally.steps == cap:
                return result.success
        observation = result.observation


def _settled(env: Environment, key: EpisodeKey, protocol: Protocol) -> Observation:
    """The first observation of the episode; objects have come to rest."""
    observation = env.reset(protocol.init_state(key), protocol.reset_seed(key), observe=protocol.settle_steps == 0)
    hold = np.array(env.action_spec.hold)
    for step in range(protocol.settle_steps):
        observation = env.step(hold, observe=step == protocol.settle_steps - 1).observation
    return observation


def _plan(env: Environment, chunk: np.ndarray, count: int, binarize_gripper: bool) -> list[np.ndarray]:
    """The first `count` actions, each checked before any is executed; raises `ActionError`."""
    if chunk.ndim != 2 or not len(chunk):
        raise ActionError(f"a chunk has shape {chunk.shape}, legal is (H, {env.action_spec.dim}) with H >= 1")
    # The sign is taken of what was checked: of NaN it would be a command like any other.
    plan = [env.action_spec.check(action) for action in chunk[:count]]
    return [np.append(action[:-1], np.sign(action[-1])) for action in plan] if binarize_gripper else plan


def one_line(error: Exception) -> str:
    """The exception and where it came from, on one line."""
    frames = traceback.extract_tb(error.__traceback__)[-TRACEBACK_FRAMES:]
    places = " < ".join(f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {error} [{places}]"
