"""One key in, one record out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bench.errors import StoreError
from bench.latency import Latency, Paused, ticks
from bench.memory import PeakMemory
from bench.protocol import Protocol
from bench.recorders import Recorder
from bench.records import EpisodeRecord
from bench.spec import EpisodeKey
from envs.types import ActionError, ActionSpec, Environment, Observation, StepResult
from policies.base import Policy

TRACEBACK_FRAMES = 3
"""Innermost frames of an exception that a record keeps."""

PAUSED = Paused()
"""The world waits for the policy."""


@dataclass
class _Tally:
    """What is known of the running episode; survives an exception in the middle of it."""

    steps: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    simulated_ms: list[float] = field(default_factory=list)
    waited_steps: int = 0
    held_steps: int = 0
    recording_s: dict[str, float] = field(default_factory=dict)

    def heard(self, recorder: Recorder, began: float) -> None:
        """Count the time since `began` as the recorder's."""
        took = time.perf_counter() - began
        self.recording_s[recorder.name] = self.recording_s.get(recorder.name, 0.0) + took


def rollout(env: Environment, policy: Policy, key: EpisodeKey, protocol: Protocol,
            recorders: Sequence[Recorder] = (), trace: str | None = None,
            latency: Latency = PAUSED) -> EpisodeRecord:
    """Play the episode `key`.

    An exception of the environment, the policy or a recorder, or an action that no robot should be sent, gives a record
    with outcome "error", never a failure. Raises `StoreError` if nothing can be written any more; an interrupt by the
    user propagates.
    """
    tally, memory, began = _Tally(), PeakMemory(), time.perf_counter()
    try:
        success = _play(env, policy, key, protocol, recorders, tally, latency)
        outcome, reason = "success" if success else "failure", None
    except Exception as error:
        outcome, reason = "error", one_line(error)
    if outcome != "error":
        saving = time.perf_counter()
        try:
            for recorder in recorders:
                recorder.save()
        except StoreError:
            raise  # the next episode could not be written either
        except Exception as error:
            outcome, reason = "error", f"while saving: {one_line(error)}"
        tally.recording_s["saving"] = time.perf_counter() - saving
    return EpisodeRecord(
        key, env.task.name, env.task.instruction, outcome, reason, tally.steps, tuple(tally.latencies_ms),
        time.perf_counter() - began, memory.peak_bytes(), None if outcome == "error" else trace,
        datetime.now(UTC).isoformat(timespec="seconds"), protocol.name, env.stepping, latency=latency.name,
        realtime=_realtime(tally, env.action_spec.control_hz) if latency.name != PAUSED.name else None,
        peak_device_bytes=memory.peak_device_bytes(), recording_s=tally.recording_s)


def _play(env: Environment, policy: Policy, key: EpisodeKey, protocol: Protocol, recorders: Sequence[Recorder],
          tally: _Tally, latency: Latency) -> bool:
    """Whether the goal was reached within the cap."""
    policy.reset(key.noise_key())
    observation = _settled(env, key, protocol)
    cap = protocol.cap(key.suite)
    unused, hold = np.empty((0, env.action_spec.dim)), np.array(env.action_spec.hold)

    def step(action: np.ndarray, decision: int | None, observe: bool) -> tuple[StepResult, bool]:
        """What the world gave, and whether the episode is over."""
        result = env.step(action, observe=observe and tally.steps + 1 < cap)
        for recorder in recorders:
            began = time.perf_counter()
            recorder.on_step(tally.steps, decision, action, result)
            tally.heard(recorder, began)
        tally.steps += 1
        return result, result.success or result.truncated or tally.steps == cap

    while True:
        decision, began = len(tally.latencies_ms), time.perf_counter()
        chunk = policy.act([observation])[0]
        tally.latencies_ms.append((time.perf_counter() - began) * 1e3)
        plan = _plan(env, chunk, min(protocol.replan_every, cap - tally.steps), protocol.binarize_gripper)
        for recorder in recorders:
            began = time.perf_counter()
            recorder.on_decision(tally.steps, observation, chunk)
            tally.heard(recorder, began)
        for action, source in _meanwhile(env, key, decision, unused, hold, protocol, latency, tally):
            result, over = step(action, source, observe=False)
            if over:
                return result.success
        for index, action in enumerate(plan, start=1):
            result, over = step(action, decision, observe=index == len(plan))
            if over:
                return result.success
        # Whoever holds an object while the plan is used up must not open the hand.
        unused, hold = chunk[len(plan):], np.append(env.action_spec.hold[:-1], plan[-1][-1])
        observation = result.observation


def _meanwhile(env: Environment, key: EpisodeKey, decision: int, unused: np.ndarray, hold: np.ndarray,
               protocol: Protocol, latency: Latency, tally: _Tally) -> Iterator[tuple[np.ndarray, int | None]]:
    """The actions that pass while the policy decides, with the decision that planned each: the old plan, then holding.

    `unused`, float32[N, 7], is what the last decision planned beyond the point where it was to look again.
    """
    took_ms = latency.ms(key, decision)
    if took_ms is None:
        return
    tally.simulated_ms.append(took_ms)
    wait = ticks(took_ms, env.action_spec.control_hz)
    old = _plan(env, unused, wait, protocol.binarize_gripper) if wait and len(unused) else []
    for tick in range(wait):
        tally.waited_steps += 1
        tally.held_steps += tick >= len(old)
        yield (old[tick], decision - 1) if tick < len(old) else (hold, None)


def _realtime(tally: _Tally, control_hz: float) -> dict[str, Any]:
    return {"latency_ms": tally.simulated_ms, "waited_steps": tally.waited_steps, "held_steps": tally.held_steps,
            "deadline_misses": sum(ms > 1e3 / control_hz for ms in tally.simulated_ms)}


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
    bad = _bad_values(np.asarray(chunk[:count], dtype=np.float64), env.action_spec)
    if bad is not None:
        raise ActionError(bad)
    # The sign is taken of what was checked: of NaN it would be a command like any other.
    plan = [env.action_spec.check(action) for action in chunk[:count]]
    return [np.append(action[:-1], np.sign(action[-1])) for action in plan] if binarize_gripper else plan


def _bad_values(plan: np.ndarray, spec: ActionSpec) -> str | None:
    """How many values of float64[H, dim] no robot should be sent, None if there are none or the shape is wrong."""
    wild = ~np.isfinite(plan)
    beyond = ~wild & ((plan < spec.low) | (plan > spec.high))
    if plan.shape[1:] != (spec.dim,) or not (wild.any() or beyond.any()):
        return None
    row, dim = np.argwhere(wild | beyond)[0]
    return (f"of {plan.size} values of the plan {wild.sum()} are not finite and {beyond.sum()} leave the legal range "
            f"[{spec.low}, {spec.high}]; first: {plan[row, dim]} in dimension {dim} of action {row}")


def one_line(error: Exception) -> str:
    """The exception and where it came from, on one line."""
    frames = traceback.extract_tb(error.__traceback__)[-TRACEBACK_FRAMES:]
    places = " < ".join(f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {error} [{places}]"
