"""What plays episodes in one process: policies in memory, open environments, and the files of each episode."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bench.desk import DeskLine, DeskPolicy
from bench.drift import episode_drift
from bench.folder import RunFolder
from bench.host import EnvironmentLost
from bench.kept import build_once
from bench.latency import latency_of
from bench.pool import EnvironmentPool, suite_module
from bench.protocol import PROTOCOLS
from bench.recorders import FilmRecorder, ObservationRecorder, Recorder, TraceRecorder
from bench.records import EpisodeRecord
from bench.rollout import one_line, rollout
from bench.schedule import partner
from bench.spec import BenchSpec, EpisodeKey, PolicyVariant
from bench.timing.place import place
from bench.variants import require_supported
from bench.watchdog import Watchdog
from envs.types import Environment
from policies.base import Policy

TIMEOUT_S = 300.0
"""Seconds without a decision or a control step after which an episode hangs."""
GRACE_S = 5.0
"""By how much longer a player waits than the host of its environments, which knows more of what went wrong."""


class Player:
    """Plays episodes of `spec` and writes their files below `folder`. Use it as a context manager.

    With `desk`, an address of `bench.batching`, the policy is there and decides for other players too.
    """

    def __init__(self, spec: BenchSpec, folder: RunFolder, timeout_s: float = TIMEOUT_S, isolate: bool = False,
                 desk: str | None = None) -> None:
        self._spec, self._folder = spec, folder
        self._timeout_s = timeout_s + GRACE_S if isolate else timeout_s
        self._pool = EnvironmentPool(spec.suite, spec.assets, spec.stepping,
                                     host_timeout_s=timeout_s if isolate else None)
        self._seats: dict[str, Policy] = {}
        self._warm: set[str] = set()
        self._desk = None if desk is None else DeskLine(desk)

    def prepare(self, variant: PolicyVariant) -> tuple[bool, dict[str, Any] | None]:
        """Have the policy of a variant in memory: whether it is new there, and then its audit.

        Raises what `prepared` raises.
        """
        if variant.variant_id in self._seats:
            return False, None
        if self._spec.stop == "never":
            self._seats.clear()  # one policy in memory at a time
        if self._desk is not None:
            facts, new, audit = self._desk.ask("prepare", variant)
            self._seats[variant.variant_id] = DeskPolicy(self._desk, variant.variant_id, facts)
            return new, audit
        self._seats[variant.variant_id], audit = prepared(self._spec, variant, self._folder)
        return True, audit

    def play(self, key: EpisodeKey) -> EpisodeRecord:
        """One episode of a variant that was prepared; its partner must have been played."""
        policy, protocol = self._seats[key.variant_id], PROTOCOLS[self._spec.protocol]
        try:
            env = self._pool.get(key.task, policy)
        except EnvironmentLost as error:
            return failed(self._spec, key, one_line(error))
        if key.variant_id not in self._warm:
            # The first call of a network allocates and tunes; its latency is nobody's. The record is thrown away.
            rollout(env, policy, key, replace(protocol, max_steps={self._spec.suite: 1}))
            self._warm.add(key.variant_id)
        record = self._episode(key, env, policy)
        if record.outcome == "error":
            self._pool.drop(env)
        return record

    def __enter__(self) -> Player:
        self._pool.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.__exit__(*exc)

    def _episode(self, key: EpisodeKey, env: Environment, policy: Policy) -> EpisodeRecord:
        """One episode with its files and, for all but full precision, its drift."""
        spec, folder = self._spec, self._folder
        baseline = key.variant_id == spec.variants[0].variant_id
        recorders: list[Recorder] = [TraceRecorder(folder.trace(key))]
        if baseline:
            recorders.append(ObservationRecorder(folder.observations(key)))
        if spec.video and key.init_state == 0:
            recorders.append(FilmRecorder(folder.frames(key), env))
        with Watchdog(self._timeout_s) as watchdog:
            record = rollout(env, policy, key, PROTOCOLS[spec.protocol], [watchdog, *recorders],
                             str(folder.trace(key).relative_to(folder.root)), latency_of(spec.latency))
        if baseline or record.outcome == "error":
            return record
        try:
            drift = episode_drift(policy, key, folder.observations(key), folder.trace(partner(spec, key)),
                                  folder.trace(key), spec.divergence_mm)
        except Exception as error:
            return replace(record, outcome="error", reason=f"while measuring drift: {one_line(error)}", trace=None)
        return replace(record, drift=drift)


def prepared(
    spec: BenchSpec, variant: PolicyVariant, folder: RunFolder
) -> tuple[Policy, dict[str, Any] | None]:
    """The policy of a variant and its audit; raises `UsageError` if a Linear that the method wanted is unsupported."""
    import torch

    torch.set_num_threads(spec.threads)
    policy, audit = build_once(variant, folder)
    if not spec.allow_unsupported:
        require_supported(variant, audit)
    if spec.device != "cpu":
        place(policy, variant.policy, spec.device)
    return policy, audit


def failed(spec: BenchSpec, key: EpisodeKey, reason: str) -> EpisodeRecord:
    """The record of an episode that could not even begin, or whose process is gone."""
    task = suite_module(spec.suite).tasks(spec.suite)[key.task]
    return EpisodeRecord(key, task.name, task.instruction, "error", reason, 0, (), 0.0, None, None,
                         datetime.now(UTC).isoformat(timespec="seconds"), spec.protocol, spec.stepping,
                         latency=latency_of(spec.latency).name)
