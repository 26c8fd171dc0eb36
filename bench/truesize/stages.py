"""How long each stage of a decision takes, from marks at the borders of its modules."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import torch


class Stages:
    """Marks the calls of some modules while it is open; see `ms`."""

    def __init__(self, module: torch.nn.Module, stages: Mapping[str, tuple[str, ...]], device: str) -> None:
        self._cuda = device.startswith("cuda")
        present = dict(module.named_modules())
        self._parts = {present[name]: stage for stage, names in stages.items() for name in names if name in present}
        self._marks: list[tuple[str, Any, Any]] = []

    @contextmanager
    def open(self) -> Any:
        """Record while the context lasts."""
        self._marks.clear()
        begun: dict[torch.nn.Module, Any] = {}
        handles = []
        for part, stage in self._parts.items():
            handles.append(part.register_forward_pre_hook(lambda m, _: begun.__setitem__(m, self._now())))
            handles.append(part.register_forward_hook(
                lambda m, _i, _o, stage=stage: self._marks.append((stage, begun.pop(m), self._now()))))
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def ms(self) -> dict[str, float]:
        """Milliseconds by stage of what was recorded last."""
        if self._cuda:
            torch.cuda.synchronize()
        total = dict.fromkeys(self._parts.values(), 0.0)
        for stage, begin, end in self._marks:
            total[stage] += begin.elapsed_time(end) if self._cuda else (end - begin) * 1e3
        return total

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def split(stages: Stages, decide: Callable[[], object], prepare: Callable[[], object], count: int) -> dict[str, Any]:
    """Stage -> samples in ms of `count` decisions; `prepare` is the stage "inputs", before the network."""
    samples: dict[str, list[float]] = {}
    for _ in range(count):
        began = time.perf_counter()
        prepare()
        found = {"inputs": (time.perf_counter() - began) * 1e3}
        with stages.open():
            decide()
        for stage, ms in (found | stages.ms()).items():
            samples.setdefault(stage, []).append(ms)
    return samples
