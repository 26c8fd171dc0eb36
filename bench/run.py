"""Walk a spec: every episode that the store does not have yet, one policy in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.drift import episode_drift
from bench.errors import StoreMismatch
from bench.folder import write_json
from bench.latency import latency_of
from bench.pool import EnvironmentPool
from bench.progress import Progress
from bench.protocol import PROTOCOLS, Protocol
from bench.recorders import FilmRecorder, ObservationRecorder, Recorder, TraceRecorder
from bench.records import EpisodeRecord, RunStore
from bench.rollout import one_line, rollout
from bench.schedule import batches, partner, wanted
from bench.spec import BenchSpec, EpisodeKey, PolicyVariant
from bench.variants import build, require_supported
from bench.watchdog import Watchdog
from envs.types import Environment
from policies.base import Policy

TIMEOUT_S = 300.0
"""Seconds without a decision or a control step after which an episode hangs."""
GRACE_S = 5.0
"""By how much longer the runner waits than the host of its environments, which knows more of what went wrong."""


def run(spec: BenchSpec, store: RunStore, shown: bool = True, timeout_s: float = TIMEOUT_S,
        isolate: bool = False) -> set[EpisodeKey]:
    """Play what is missing; return the keys that still have no outcome, empty if the run is complete.

    `isolate` keeps the environments in a process of their own, whose death is an error of one episode.

    An episode that ends in an error is recorded and left for the next run. A variant's episode waits until its
    full-precision partner has an outcome, because its drift is measured against it.
    """
    total = sum(1 for _ in spec.episodes())
    seats: dict[str, _Seat] = {}
    pool = EnvironmentPool(spec.suite, spec.assets, host_timeout_s=timeout_s if isolate else None)
    with pool, Progress(total, len(store.keys()), shown) as progress:
        for variant, keys in batches(spec, store):
            if not keys:
                continue
            if variant.variant_id not in seats:
                if spec.stop == "never":
                    seats.clear()  # one policy in memory at a time
                progress.say(f"{variant.variant_id}: preparing {variant.policy} {variant.method}")
                policy, audit = prepared(spec, variant)
                _keep_audit(store, variant, audit)
                seats[variant.variant_id] = _Seat(variant, policy)
            _play_batch(spec, seats[variant.variant_id], keys, store, pool, progress,
                        timeout_s + GRACE_S if isolate else timeout_s)
    return wanted(spec, store) - store.keys()


@dataclass
class _Seat:
    """A policy in memory."""

    variant: PolicyVariant
    """What it is."""
    policy: Policy
    """Its policy."""
    warm: bool = False
    """Whether it has been called before."""


def _play_batch(spec: BenchSpec, seat: _Seat, keys: Sequence[EpisodeKey], store: RunStore, pool: EnvironmentPool,
                progress: Progress, timeout_s: float) -> None:
    done, protocol = store.keys(), PROTOCOLS[spec.protocol]
    for key in keys:
        if not seat.variant.baseline and partner(spec, key) not in done:
            continue
        env = pool.get(key.task, seat.policy)
        if not seat.warm:
            # The first call of a network allocates and tunes; its latency is nobody's. The record is thrown away.
            rollout(env, seat.policy, key, replace(protocol, max_steps={spec.suite: 1}))
            seat.warm = True
        record = _episode(spec, seat.variant, key, env, seat.policy, protocol, store, timeout_s)
        store.append(record)
        progress.add(record)
        if record.outcome == "error":
            progress.say(f"error in {key.variant_id} {key.pair}: {record.reason}")
            pool.drop(env)


def prepared(spec: BenchSpec, variant: PolicyVariant) -> tuple[Policy, dict[str, Any] | None]:
    """The policy of a variant and its audit; raises `UsageError` if a Linear that the method wanted is unsupported."""
    import torch

    torch.set_num_threads(spec.threads)
    policy, audit = build(variant)
    if not spec.allow_unsupported:
        require_supported(variant, audit)
    return policy, audit


def _keep_audit(store: RunStore, variant: PolicyVariant, audit: dict[str, Any] | None) -> None:
    """Write the audit; raise `StoreMismatch` if earlier episodes of the variant ran on another quantization."""
    if audit is None:
        return
    path = store.folder.audit(variant.variant_id)
    if path.exists():
        old, new = (_without_diagnostics(a) for a in (json.loads(path.read_text()), json.loads(json.dumps(audit))))
        differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if differing:
            raise StoreMismatch(f"{variant.variant_id} was quantized differently before: {', '.join(differing)} of "
                                f"{path} changed; name a new run (RUN=...)")
    write_json(path, audit)


def _without_diagnostics(audit: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in audit.items() if name != "diagnostics"}


def _episode(spec: BenchSpec, variant: PolicyVariant, key: EpisodeKey, env: Environment, policy: Policy,
             protocol: Protocol, store: RunStore, timeout_s: float) -> EpisodeRecord:
    """One episode with its files and, for a quantized variant, its drift."""
    folder = store.folder
    recorders: list[Recorder] = [TraceRecorder(folder.trace(key))]
    if variant.baseline:
        recorders.append(ObservationRecorder(folder.observations(key)))
    if spec.video and key.init_state == 0:
        recorders.append(FilmRecorder(folder.frames(key), env))
    with Watchdog(timeout_s) as watchdog:
        record = rollout(env, policy, key, protocol, [watchdog, *recorders],
                         str(folder.trace(key).relative_to(folder.root)), latency_of(spec.latency))
    if variant.baseline or record.outcome == "error":
        return record
    try:
        drift = episode_drift(policy, key, folder.observations(key), folder.trace(partner(spec, key)),
                              folder.trace(key), spec.divergence_mm)
    except Exception as error:
        return replace(record, outcome="error", reason=f"while measuring drift: {one_line(error)}", trace=None)
    return replace(record, drift=drift)


def outstanding_errors(store: RunStore) -> Sequence[EpisodeRecord]:
    """Records of the episodes whose last word is an error."""
    return [record for record in store.records() if record.outcome == "error"]
