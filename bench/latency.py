"""How much simulated time a decision takes, so that a fast or slow device changes what happens in the world.

`paused`: the world waits for the policy, as in every published LIBERO evaluation. `fixed:MS`: each decision takes as
many milliseconds. `device:FILE`: it takes a time measured on that device, drawn for each decision from the episode's
key. In the last two the old plan goes on for as many control steps as the decision takes, and the arm holds where the
plan is used up. The wall clock plays no part, so any machine gives the same episodes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.errors import UsageError, unknown
from bench.spec import REPEAT, EpisodeKey, PolicyVariant

KINDS = ("paused", "fixed:MS", "device:FILE")
"""What a latency is written as."""
ANY = "*"
"""Stands for every variant in samples that name none."""


class Latency(Protocol):
    """Simulated time of decisions."""

    name: str
    """What records and reports call it; results of different names are never mixed."""

    def ms(self, key: EpisodeKey, decision: int) -> float | None:
        """Milliseconds of decision number `decision` of an episode, None if the world waits."""


@dataclass(frozen=True)
class Paused:
    """The world waits for the policy."""

    name: str = "paused"
    """See `Latency`."""

    def ms(self, key: EpisodeKey, decision: int) -> None:
        """Nothing passes."""
        return None


@dataclass(frozen=True)
class FixedLatency:
    """Every decision takes the same time."""

    name: str
    """See `Latency`."""
    each_ms: float
    """Milliseconds of a decision."""

    def ms(self, key: EpisodeKey, decision: int) -> float:
        """The same for all."""
        return self.each_ms


@dataclass(frozen=True)
class DeviceLatency:
    """Decisions take times that were measured on a device."""

    name: str
    """See `Latency`."""
    samples_ms: Mapping[str, Sequence[float]]
    """variant_id, or `ANY` -> measured milliseconds."""

    def ms(self, key: EpisodeKey, decision: int) -> float:
        """One of the variant's samples; which one is equal for every variant that has as many of them."""
        samples = self.samples_ms[key.variant_id if key.variant_id in self.samples_ms else ANY]
        return samples[int(np.random.default_rng([*key.latency_key(), decision]).integers(len(samples)))]


def parse_latency(text: str, variants: Sequence[PolicyVariant]) -> dict[str, Any]:
    """What the spec keeps of "paused", "fixed:MS" or "device:FILE": the samples themselves, for the file may go.

    Raises `UsageError` for another text, and for a file that has no samples of one of the variants.
    """
    kind, _, value = text.partition(":")
    if text == "paused":
        return {"name": text}
    if kind == "fixed" and re.fullmatch(r"\d+(\.\d+)?", value):
        return {"name": f"fixed:{float(value):g}", "ms": float(value)}
    if kind == "device" and value:
        return _device(Path(value), variants)
    raise UsageError(unknown("latency", text, KINDS))


def latency_of(config: Mapping[str, Any]) -> Latency:
    """The latency that `parse_latency` described."""
    if "samples_ms" in config:
        return DeviceLatency(config["name"], config["samples_ms"])
    return FixedLatency(config["name"], config["ms"]) if "ms" in config else Paused()


def ticks(latency_ms: float, control_hz: float) -> int:
    """Control steps that pass in so many milliseconds; one that has begun counts."""
    # 0.1 * 3 steps are three, whatever the last bit says.
    return math.ceil(round(latency_ms * control_hz / 1e3, 9))


def _device(path: Path, variants: Sequence[PolicyVariant]) -> dict[str, Any]:
    """Samples of a `timings/DEVICE.json` of a run, or of a file `{"device": ..., "samples_ms": [...]}`."""
    try:
        content = json.loads(path.read_text())
        found = ({vid: timed["samples_ms"] for vid, timed in content["variants"].items()} if "variants" in content
                 else {ANY: content["samples_ms"]})
        samples = {vid: [float(ms) for ms in values] for vid, values in found.items()}
        device = str(content["device"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"latency device:{path} needs the timings/DEVICE.json of a run, or JSON with device and "
                         f"samples_ms; this file cannot be used: {type(error).__name__} {error}") from error
    bad = [vid for vid, values in samples.items() if not values or not all(0 <= v < math.inf for v in values)]
    if bad:
        raise UsageError(f"{path} needs finite samples of 0 ms or more for {', '.join(bad)}")
    baseline = variants[0].variant_id
    for variant in variants:
        if variant.method == REPEAT and baseline in samples:
            samples.setdefault(variant.variant_id, samples[baseline])
    missing = [v.variant_id for v in variants if v.variant_id not in samples and ANY not in samples]
    if missing:
        raise UsageError(f"{path} has samples of {', '.join(samples)}, none of {', '.join(missing)}; time those "
                         "variants on the device first, or give one list samples_ms for all")
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]
    return {"name": f"device:{device}@{digest}", "samples_ms": samples}
