"""The CPU's clock: a step has ended when it returns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any


class CpuProbe:
    """See `bench.timing.probe.TimingProbe`."""

    device = "cpu"
    torch_device = "cpu"
    measures_power = False
    peaks = None

    def unavailable(self) -> str | None:
        """Every machine has a CPU."""
        return None

    def once_ms(self, step: Callable[[], object]) -> float:
        """Wall milliseconds of one call."""
        began = time.perf_counter()
        step()
        return (time.perf_counter() - began) * 1e3

    def facts(self) -> dict[str, Any]:
        """The machine's description in the same file names the processor."""
        return {}

    def watch(self) -> LoadWatch:
        """How busy the machine is with other things."""
        return LoadWatch()


class LoadWatch:
    """See `bench.timing.probe.Watch`."""

    def __enter__(self) -> LoadWatch:
        self._load = os.getloadavg()[0]
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing runs beside."""

    def to_json(self) -> dict[str, Any]:
        """Load of the minute before; a busy machine gives slow and scattered figures."""
        return {"load_before": self._load, "cpus": os.cpu_count()}
