"""One figure of what `make bench-quant` promises and measures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def figure(value: float | None, sense: str | None, target: float | None, reason: str | None = None,
           samples: Sequence[float] = ()) -> dict[str, Any]:
    """A figure of the last line: value, target, whether it is met, why there is none, and how often it was measured.

    `sense` is "<=" or ">=", None for a figure without a target. `samples` are repeated measurements, of which `spread`
    has the least and the greatest.
    """
    met = None if value is None or sense is None else value <= target if sense == "<=" else value >= target
    target_text = None if sense is None else f"{sense} {target:g}"
    return {"value": value, "target": target_text, "met": met, "reason": reason, "n": len(samples) or None,
            "spread": [min(samples), max(samples)] if samples else None}


def median_figure(samples: Sequence[float], sense: str, target: float) -> dict[str, Any]:
    """The figure of a measurement that was repeated."""
    return figure(statistics.median(samples), sense, target, samples=samples)
