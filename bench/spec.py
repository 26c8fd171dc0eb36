"""What a run is going to measure: a spec names every episode, in one deterministic order.

Two variants of one spec have the same episodes but for `variant_id`; the environment's seed and the policy's noise
are derived from the rest of the key, so every comparison is paired, whatever ran before, on whichever machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.errors import UsageError
from envs.registry import suite_name

FULL_PRECISION = "fp"
"""The method name of the baseline."""
REPEAT = "aa"
"""The method name of the baseline played a second time (A/A): what it differs by is the noise of the comparison."""
SERVER = "server"
"""Key of a variant's config with the metadata of the server that serves it."""
STOPS = ("never", "sequential")
"""When comparisons may end before all episodes are played."""


@dataclass(frozen=True)
class PolicyVariant:
    """A checkpoint and a quantization: the thing under test."""

    policy: str
    """Registry name of the policy."""
    weights: str | None
    """sha256 over the files of its checkpoint, or None for a policy without one."""
    method: str
    """The quantization as the user typed it; "fp" is full precision."""
    config: Mapping[str, Any]
    """The quantizer's config as JSON: its type and every knob."""

    @property
    def variant_id(self) -> str:
        """The method's name and a short hash of everything that decides what the variant computes."""
        # Where a server listens does not change what it computes.
        policy = self.policy.partition(":")[0] if SERVER in self.config else self.policy
        identity = {"policy": policy, "weights": self.weights, "config": self.config}
        name = re.sub(r"[^a-z0-9]+", "", re.split(r"[^\w-]", self.method.lower())[0])
        return f"{name}-{hashlib.sha256(canonical(identity).encode()).hexdigest()[:8]}"

    @property
    def baseline(self) -> bool:
        """True for full precision."""
        return self.method == FULL_PRECISION


@dataclass(frozen=True, order=True)
class EpisodeKey:
    """The name of one episode; nothing else decides how it goes."""

    variant_id: str
    """The variant that acts."""
    suite: str
    """Suite name."""
    task: int
    """Index of the task in the suite."""
    init_state: int
    """Index of the official init state."""
    seed: int
    """The seed of the spec."""

    @property
    def pair(self) -> str:
        """The key without the variant, as a file name: equal for episodes that are compared."""
        return f"{self.suite}-{self.task}-{self.init_state}-{self.seed}"

    def env_seed(self) -> int:
        """31 bits that place what an init state leaves open, such as fixtures; equal for every variant."""
        return self._derive("environment")[0] >> 1

    def noise_key(self) -> tuple[int, ...]:
        """Four 32-bit numbers from which the policy's sampling noise derives; equal for every variant."""
        return self._derive("policy noise")

    def latency_key(self) -> tuple[int, ...]:
        """Four 32-bit numbers that choose among measured latencies; equal for every variant."""
        return self._derive("latency")

    def _derive(self, purpose: str) -> tuple[int, ...]:
        digest = hashlib.sha256(f"{purpose}/{self.pair}".encode()).digest()
        return tuple(int.from_bytes(digest[i:i + 4], "big") for i in range(0, 16, 4))


@dataclass(frozen=True)
class BenchSpec:
    """Every episode of a run."""

    suite: str
    """Suite name."""
    tasks: tuple[int, ...]
    """Task indices, ascending."""
    variants: tuple[PolicyVariant, ...]
    """What is compared; full precision first."""
    trials: int
    """Episodes per task and variant: init states 0 .. trials - 1."""
    seed: int
    """From which every random number derives."""
    protocol: str
    """Name of the protocol profile."""
    assets: str
    """Asset pack of the scenes: "builtin", "official" or "none"."""
    threads: int
    """CPU threads of the policy; part of the spec because sums in another order are other numbers."""
    divergence_mm: float
    """Distance between end effectors beyond which two trajectories are said to have parted."""
    video: bool
    """Whether init state 0 of every task is filmed."""
    allow_unsupported: bool
    """Whether a variant may run although its method could not quantize a layer that it wanted."""
    stepping: str
    """How the physics are computed: "fast", "exact" or "none", see `envs.registry`; paths part by rounding."""
    margin_points: float = 2.0
    """Percentage points by which a variant may be worse and still count as non-inferior; declared before the run."""
    latency: Mapping[str, Any] = field(default_factory=lambda: {"name": "paused"})
    """Simulated time of a decision, as `bench.latency.parse_latency` describes it."""
    device: str = "cpu"
    """Where the policy computes, as `torch.device` names it."""
    batch: int = 1
    """Decisions of several workers that may be made by one call of the policy; 1 is exact on every device."""
    stop: str = "never"
    """One of `STOPS`: "sequential" ends a variant's comparison as soon as its verdict is certain."""

    def __post_init__(self) -> None:
        # Keys, and the seeds that derive from them, must not depend on which name of a suite was typed.
        object.__setattr__(self, "suite", suite_name(self.suite))
        if not self.variants or not self.variants[0].baseline:
            raise UsageError(f"the first variant must be {FULL_PRECISION!r}: everything is compared with it")
        for name, values in (("variants", [v.variant_id for v in self.variants]), ("tasks", list(self.tasks))):
            if not values or len(set(values)) != len(values):
                raise UsageError(f"{name} must be named once each, got {values}")
        if list(self.tasks) != sorted(self.tasks):
            raise UsageError(f"tasks must ascend, got {list(self.tasks)}")
        for name in ("trials", "threads", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.stop not in STOPS or not 0 < self.margin_points < 100:
            raise UsageError(f"legal are stop {' or '.join(STOPS)} and 0 < margin_points < 100, "
                             f"got {self.stop!r} and {self.margin_points}")
        if not 0 <= self.seed < 2**32 or not self.divergence_mm > 0:
            raise UsageError("legal are 0 <= seed < 2**32 and divergence_mm > 0, "
                             f"got {self.seed} and {self.divergence_mm}")

    def episodes(self) -> Iterator[EpisodeKey]:
        """Every key: the baseline's first, then variant by variant, task by task, init state by init state."""
        for variant in self.variants:
            for task in self.tasks:
                for init_state in range(self.trials):
                    yield EpisodeKey(variant.variant_id, self.suite, task, init_state, self.seed)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `BenchSpec.from_json` gives an equal spec."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BenchSpec:
        """The spec that `to_json` wrote; raises `UsageError` for unknown or missing keys."""
        variants = tuple(PolicyVariant(**_exactly(PolicyVariant, v)) for v in _exactly(cls, data)["variants"])
        return cls(**{**data, "tasks": tuple(data["tasks"]), "variants": variants})

    def conflicts(self, other: BenchSpec) -> list[str]:
        """Why episodes of `other` could not stay in a run of this spec; empty if every one of them is wanted here.

        More trials, tasks or variants extend a run; any other difference makes it another run.
        """
        reasons = [f"{f.name}: {_short(getattr(other, f.name))} in the folder, {_short(getattr(self, f.name))} now"
                   for f in dataclasses.fields(self)
                   if f.name not in ("tasks", "variants", "trials") and getattr(self, f.name) != getattr(other, f.name)]
        if self.trials < other.trials:
            reasons.append(f"trials: {other.trials} in the folder, fewer now ({self.trials})")
        reasons += [f"task {t} is in the folder, not wanted now" for t in other.tasks if t not in self.tasks]
        mine = {v.variant_id for v in self.variants}
        reasons += [f"variant {v.variant_id} ({v.policy} {v.method}, weights {str(v.weights)[:8]}) is in the folder, "
                    "not wanted now" for v in other.variants if v.variant_id not in mine]
        return reasons


def canonical(data: Any) -> str:
    """JSON text that is equal for equal data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _short(value: Any) -> str:
    return repr(value["name"] if isinstance(value, Mapping) else value)


def _exactly(cls: type, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """`data`, if it has every key and no other; what has a default may be missing, for it is younger than the file."""
    fields = dataclasses.fields(cls)
    legal = {f.name for f in fields}
    needed = {f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
    if set(data) - legal or needed - set(data):
        raise UsageError(f"{cls.__name__} has keys {sorted(legal)}; unknown: {sorted(set(data) - legal)}, "
                         f"missing: {sorted(needed - set(data))}")
    return data
