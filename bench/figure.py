"""One figure of the last line of a benchmark, which names what is promised and what was measured."""

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


def median_figure(
    samples: Sequence[float], sense: str | None = None, target: float | None = None, reason: str | None = None
) -> dict[str, Any]:
    """The figure of a measurement that was repeated; None with a reason if it was not made at all."""
    return figure(statistics.median(samples) if samples else None, sense, target, reason, samples)
