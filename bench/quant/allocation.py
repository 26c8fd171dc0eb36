"""Seconds to allocate the channels of a large model."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.figure import median_figure
from quantizers.allocation import RULES, allocate

CHANNELS = 2_000_000
"""About as many as a model of seven billion parameters has."""
REPEATS = 3


def allocation_figures(channels: int = CHANNELS) -> dict[str, Any]:
    """Wall seconds of each rule for errors drawn at random, at 4 bits on average."""
    random = np.random.default_rng(0)
    error = np.sort(random.gamma(0.3, size=(channels, 5)), axis=1)[:, ::-1]
    size = np.tile(np.array([0.0, 2, 4, 8, 16]), (channels, 1))
    found = {}
    for rule in RULES:
        seconds = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            allocate(error, size, 4.0 * channels, rule)
            seconds.append(time.perf_counter() - began)
        print(f"allocation of {channels:,} channels, {rule}: {', '.join(f'{s:.2f}' for s in seconds)} s", flush=True)
        found[f"allocation_2m_channels_{rule}_s"] = median_figure(seconds, "<=", 2.0)
    return found
