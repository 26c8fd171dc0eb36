"""Latency samples, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LatencySamples:
    """Repeated measurements of one step, in the order in which they were made."""

    samples_ms: tuple[float, ...]
    """Wall milliseconds."""

    def to_json(self) -> dict[str, Any]:
        """Median, 90th, 95th and 99th percentile and the raw samples."""
        median, p90, p95, p99 = map(float, np.percentile(self.samples_ms, [50, 90, 95, 99]))
        return {"median_ms": median, "p90_ms": p90, "p95_ms": p95, "p99_ms": p99, "samples_ms": list(self.samples_ms)}


def speedup(baseline: LatencySamples, variant: LatencySamples) -> Mapping[str, float]:
    """How many times faster the variant is: median, 5th and 95th percentile of the ratio within each round.

    Both were measured in the same round, one after the other, so what slows the machine for a while cancels.
    """
    ratios = np.array(baseline.samples_ms) / np.array(variant.samples_ms)
    low, median, high = np.percentile(ratios, [5, 50, 95])
    return {"median": float(median), "low": float(low), "high": float(high)}
