"""The CPU's clock: a step has ended when it returns."""

from __future__ import annotations

import time
from collections.abc import Callable


class CpuProbe:
    """See `bench.timing.probe.TimingProbe`."""

    device = "cpu"

    def unavailable(self) -> str | None:
        """Every machine has a CPU."""
        return None

    def once_ms(self, step: Callable[[], object]) -> float:
        """Wall milliseconds of one call."""
        began = time.perf_counter()
        step()
        return (time.perf_counter() - began) * 1e3
