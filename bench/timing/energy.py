"""Energy of one decision: power read while a variant alone decides again and again, times time, over decisions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bench.timing.probe import TimingProbe

SECONDS = 4.0
"""Length of a block; power readings are renewed about ten times a second."""

Input = TypeVar("Input")


def energy(probe: TimingProbe, step: Callable[[Input], object], inputs: Sequence[Input],
           seconds: float = SECONDS) -> dict[str, Any]:
    """`{"mj_per_decision", "decisions", "seconds", "heard"}`, or `{"mj_per_decision": None, "reason"}`.

    It is the energy of everything that the power reading covers, what the device takes when idle included.
    """
    if not probe.measures_power:
        return {"mj_per_decision": None, "reason": f"{probe.device} tells no power"}
    decisions = 0
    with probe.watch() as watch:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            value = inputs[decisions % len(inputs)]
            probe.once_ms(lambda value=value: step(value))
            decisions += 1
        took = time.perf_counter() - began
    heard = watch.to_json()
    power = heard.get("power_w")
    if power is None:
        reason = heard.get("reason") or f"{probe.device} told no power in {took:.1f} s"
        return {"mj_per_decision": None, "reason": reason, "heard": heard}
    return {"mj_per_decision": 1e3 * power["mean"] * took / decisions, "decisions": decisions, "seconds": took,
            "heard": heard}
