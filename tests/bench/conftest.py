"""A toy spec, an empty store, and policies that misbehave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.records import EpisodeRecord, RunHeader, RunStore
from bench.spec import BenchSpec, EpisodeKey, PolicyVariant
from bench.variants import make_variants
from envs.types import OSC_POSE


def spec_of(variants: tuple[PolicyVariant, ...], **changes) -> BenchSpec:
    fields = dict(suite="toy", tasks=(0, 1), variants=variants, trials=2, seed=0, protocol="oft", assets="none",
                  threads=1, divergence_mm=5.0, video=False, allow_unsupported=False)
    return BenchSpec(**{**fields, **changes})


def header_of(spec: BenchSpec, **changes) -> RunHeader:
    fields = dict(spec=spec, assets={"kind": "none", "digest": "d"}, protocol={"name": spec.protocol}, machine={},
                  packages={"torch": "1"}, code={"bench": "1"}, commit=None, dirty=None, renderer=None, args=(),
                  created="2026-01-01T00:00:00+00:00")
    return RunHeader(**{**fields, **changes})


@pytest.fixture
def scripted_spec() -> BenchSpec:
    """Full precision only, no torch."""
    return spec_of(make_variants("toy-scripted", ["fp"]))


@pytest.fixture
def vla_spec() -> BenchSpec:
    """Full precision and 8-bit round-to-nearest."""
    return spec_of(make_variants("toy-vla", ["rtn"]))


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[[BenchSpec], RunStore]:
    return lambda spec, name="run": RunStore(tmp_path / name, header_of(spec))


@pytest.fixture
def make_header() -> Callable[..., RunHeader]:
    return header_of


@pytest.fixture
def make_record() -> Callable[..., EpisodeRecord]:
    def make(key: EpisodeKey, outcome: str = "success", **changes) -> EpisodeRecord:
        record = EpisodeRecord(key, "lift_the_red_cube", "lift the red cube", outcome,
                               "it broke" if outcome == "error" else None, 3, (1.0,), 0.1, None, "t", "2026-01-01",
                               "oft")
        return dataclasses.replace(record, **changes)

    return make


@pytest.fixture
def key() -> EpisodeKey:
    return EpisodeKey("fp-0", "toy", 0, 0, 0)


class StillPolicy:
    """Holds still; counts how often it was asked. `answer` replaces the chunk."""

    name, action_spec, image_size, needs_privileged = "still", OSC_POSE, 16, False

    def __init__(self, horizon: int = 8, answer: Callable[[int], np.ndarray] | None = None) -> None:
        self.calls, self._horizon, self._answer = 0, horizon, answer

    def reset(self, noise_key) -> None:
        self.noise_key = tuple(noise_key)

    def act(self, observations) -> np.ndarray:
        self.calls += 1
        chunk = np.tile(np.float32(OSC_POSE.hold), (self._horizon, 1))
        return np.stack([chunk if self._answer is None else self._answer(self.calls) for _ in observations])


@pytest.fixture
def still() -> type[StillPolicy]:
    return StillPolicy
