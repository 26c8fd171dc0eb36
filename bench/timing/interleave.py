"""Speed of several variants, measured in turns in one process, so that all meet the same disturbances.

The speed-up of a report comes from here alone: latencies inside episodes are minutes apart, on a machine that a
simulator keeps busy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bench.timing.probe import TimingProbe
from bench.timing.samples import LatencySamples, speedup

ROUNDS, WARMUP = 40, 3
"""Measured rounds, and calls of each variant before them."""

Input = TypeVar("Input")


def interleaved(probe: TimingProbe, steps: Mapping[str, Callable[[Input], object]], inputs: Sequence[Input],
                rounds: int = ROUNDS, warmup: int = WARMUP) -> dict[str, LatencySamples]:
    """Time every step once per round, all on the same input; the order turns from round to round.

    Turning matters: whoever follows a large network finds its caches cold.
    """
    for step in steps.values():
        for _ in range(warmup):
            step(inputs[0])
    samples: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(rounds):
        value = inputs[turn % len(inputs)]
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            samples[name].append(probe.once_ms(lambda name=name, value=value: steps[name](value)))
    return {name: LatencySamples(tuple(values)) for name, values in samples.items()}


def timing_json(device: str, threads: int, samples: Mapping[str, LatencySamples], baseline: str,
                no_claim: Mapping[str, str]) -> dict[str, Any]:
    """The content of `timings/DEVICE.json`; `no_claim` has the variants that get no speed-up figure, and why."""
    ratios = {name: {"median": None, "low": None, "high": None, "reason": no_claim[name]} if name in no_claim
              else dict(speedup(samples[baseline], measured))
              for name, measured in samples.items() if name != baseline}
    return {"device": device, "threads": threads, "rounds": len(samples[baseline].samples_ms),
            "variants": {name: measured.to_json() for name, measured in samples.items()}, "speedup": ratios}
