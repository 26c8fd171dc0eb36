"""The second rung of the drift ladder: full precision is in control, and every variant is asked what it would do.

One more episode per key, with all policies in memory. The teacher must do what it did before, so `repeated` says
whether it gave the same chunks as in the recording; if it did, this rung must equal the teacher-forced one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.drift import compare_actions
from bench.errors import StoreError
from bench.folder import write_json
from bench.latency import latency_of
from bench.player import prepared
from bench.pool import EnvironmentPool
from bench.progress import Progress
from bench.protocol import PROTOCOLS
from bench.recorders import load_observations
from bench.records import RunStore
from bench.rollout import rollout
from bench.schedule import partner
from bench.spec import BenchSpec, EpisodeKey
from envs.types import Observation, StepResult
from policies.base import Policy


class ShadowedPolicy:
    """The teacher, with others who answer the same observations and are not heard; see `policies.base.Policy`."""

    def __init__(self, teacher: Policy, shadows: Mapping[str, Policy]) -> None:
        self.name, self.action_spec = teacher.name, teacher.action_spec
        self.image_size, self.needs_privileged = teacher.image_size, teacher.needs_privileged
        self._teacher, self._shadows = teacher, shadows
        self.answers: dict[str, list[np.ndarray]] = {}
        """Shadow -> its chunks float32[H, 7] since the reset."""

    def reset(self, noise_key: Sequence[int]) -> None:
        """Begin an episode, all with the same noise."""
        self.answers = {name: [] for name in self._shadows}
        for policy in (self._teacher, *self._shadows.values()):
            policy.reset(noise_key)

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """The teacher's chunks."""
        for name, shadow in self._shadows.items():
            self.answers[name].append(shadow.act(observations)[0])
        return self._teacher.act(observations)


class ChunkRecorder:
    """Each chunk and how much of it was executed; see `bench.recorders.Recorder`."""

    name = "chunks"

    def __init__(self) -> None:
        self.chunks: list[np.ndarray] = []
        self.executed: list[int] = []

    def on_decision(self, step: int, observation: Observation, chunk: np.ndarray) -> None:
        """Keep the chunk."""
        self.chunks.append(chunk)
        self.executed.append(0)

    def on_step(self, step: int, decision: int | None, action: np.ndarray, result: StepResult) -> None:
        """Count how much of the chunk was executed."""
        if decision is not None:
            self.executed[decision] += 1

    def save(self) -> None:
        """What was heard stays in memory."""

    def against(self, answers: Sequence[np.ndarray], policy: Policy) -> dict[str, Any]:
        """How far `answers` are from the executed actions."""
        cut = [np.concatenate([chunk[:n] for chunk, n in zip(chunks, self.executed, strict=True)])
               for chunks in (self.chunks, answers)]
        return {"decisions": len(self.chunks), **compare_actions(cut[0], cut[1], policy.action_spec)}


def shadow_variants(spec: BenchSpec, store: RunStore, shown: bool = True) -> None:
    """Write `shadows/VARIANT/PAIR.json` for every pair that both finished and that has none yet.

    Raises `StoreError` if an episode of full precision ends in an error now, though it had an outcome before.
    """
    done = store.keys()
    keys = [k for k in sorted(done) if k.variant_id != spec.variants[0].variant_id and partner(spec, k) in done
            and not store.folder.shadow(k).exists()]
    if not keys:
        return
    pairs: dict[EpisodeKey, list[EpisodeKey]] = {}
    for key in keys:
        pairs.setdefault(partner(spec, key), []).append(key)
    variants = [v for v in spec.variants if v.baseline or any(k.variant_id == v.variant_id for k in keys)]
    policies = {v.variant_id: prepared(spec, v, store.folder)[0] for v in variants}
    teacher = policies.pop(spec.variants[0].variant_id)
    shadowed = ShadowedPolicy(teacher, policies)
    with EnvironmentPool(spec.suite, spec.assets, spec.stepping) as pool, Progress(len(pairs), 0, shown) as progress:
        for key, wanting in pairs.items():
            heard = ChunkRecorder()
            record = rollout(pool.get(key.task, shadowed), shadowed, key, PROTOCOLS[spec.protocol], [heard],
                             latency=latency_of(spec.latency))
            if record.outcome == "error":
                raise StoreError(f"{key.pair} had an outcome, and ends in an error while it is shadowed: "
                                 f"{record.reason}")
            before = load_observations(store.folder.observations(key))[1]
            repeated = len(before) == len(heard.chunks) and bool(np.array_equal(before, np.stack(heard.chunks)))
            for variant in wanting:
                drift = heard.against(shadowed.answers[variant.variant_id], teacher)
                write_json(store.folder.shadow(variant), {"repeated": repeated, **drift})
            progress.add(record)
