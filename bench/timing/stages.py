"""Where the time of a decision goes: before the network, in it, and after it.

Before it pictures and words become tensors, after it numbers become legal actions. The borders are the first entry into
the network and the last exit from it, whichever of its methods the policy calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from bench.timing.probe import TimingProbe

STAGES = ("preprocess", "inference", "postprocess")
"""Names of the three parts, in their order."""
WARMUP = 3
"""Decisions before the measured ones."""

Input = TypeVar("Input")


def stage_times(probe: TimingProbe, module: Any, step: Callable[[Input], object], inputs: Sequence[Input]
                ) -> dict[str, Any]:
    """`{"preprocess_ms", "inference_ms", "postprocess_ms"}`, a list each with an entry per input.

    A pass of its own: on a device that works ahead of its host, borders exist only where the host waits, which the
    timing of whole decisions must not do.
    """
    marks: list[float] = []

    def mark(*_: object) -> None:
        _finish(probe)
        marks.append(time.perf_counter())

    watched = (module, *module.children())
    handles = [handle for layer in watched for handle in
               (layer.register_forward_pre_hook(mark), layer.register_forward_hook(mark))]
    samples: dict[str, list[float]] = {f"{stage}_ms": [] for stage in STAGES}
    try:
        for number, value in enumerate([*([inputs[0]] * WARMUP), *inputs]):
            marks.clear()
            mark()
            step(value)
            mark()
            if number >= WARMUP:
                borders = [marks[0], marks[1], marks[-2], marks[-1]]
                for stage, seconds in zip(STAGES, np.diff(borders), strict=True):
                    samples[f"{stage}_ms"].append(float(seconds) * 1e3)
    finally:
        for handle in handles:
            handle.remove()
    return samples


def alone_bytes(probe: TimingProbe, place: Callable[[], None], step: Callable[[], object]) -> Mapping[str, Any]:
    """`{"bytes"}`: what a policy takes of the device's memory at most, from before `place` moves it there on.

    It is the greatest amount allocated during its first decision above what was there before; `{"bytes": None,
    "reason"}` for a device without memory of its own.
    """
    with probe.watch() as watch:
        place()
        step()
    memory = watch.to_json().get("memory")
    if not memory:
        return {"bytes": None, "reason": f"{probe.device} has no memory of its own that could be read"}
    return {"bytes": memory["peak_allocated_bytes"] - memory["allocated_before_bytes"]}


def _finish(probe: TimingProbe) -> None:
    """Wait until the device has done what it was given."""
    if probe.torch_device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
