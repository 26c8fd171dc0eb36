"""Budgets of QVLA: what a row takes at each width, and the widths that an allocation gives it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from quantizers.allocation import allocate
from quantizers.grids import CODE_BITS
from quantizers.packing import row_bytes
from quantizers.refinement import refine

if TYPE_CHECKING:
    from quantizers.qvla import QVLA

_SCALE_BYTES = 2
_ZERO_BYTES = 1
_WIDTH_BYTES = 1
_ROUNDS = 20


def choose_levels(
    error: np.ndarray, linears: Mapping[str, nn.Linear], config: QVLA, wide: Collection[str] = ()
) -> np.ndarray:
    """int64[C]: the level of every channel of `linears`, in order, for errors float64[C, L].

    `wide` names the layers with a scale that float16 cannot hold. Raises ValueError for a budget that not even the
    smallest widths meet.
    """
    by_row, by_weight, in_bytes = sizes(linears, config, wide)
    weights = sum(layer.weight.numel() for layer in linears.values())
    size, units = {"channel_bits": (by_row, len(error)), "mean_bits": (by_row, len(error)),
                   "bytes": (in_bytes, weights / 8)}[config.budget]
    limit = config.target_bits * units
    least = size[:, 0].sum() / units
    if least > config.target_bits:
        raise ValueError(
            f"target_bits is {config.target_bits:g}, below {least:g}, what the smallest of the widths "
            f"{'/'.join(map(str, config.bits))} take in the budget {config.budget!r}; the legal range is {least:g} .. "
            f"{size[:, -1].sum() / units:g}; raise target_bits or allow smaller widths"
        )
    if config.budget == "mean_bits":
        return _both(error, by_row / units, by_weight / weights, config)
    level = allocate(error, size, limit, config.rule)
    return refine(error, size, limit, level) if config.rule == "hull" else level


def sizes(
    linears: Mapping[str, nn.Linear], config: QVLA, wide: Collection[str] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float64[C, L] each: bits of a channel, bits of all its weights, and bytes with scale and width."""
    rows = np.array([layer.out_features for layer in linears.values()])
    inputs = np.repeat([layer.in_features for layer in linears.values()], rows)
    bits = np.array(config.bits, dtype=np.float64)

    def row(name: str, count: int) -> list[int]:
        grid = (2 if name in wide else 1) * _SCALE_BYTES + (_ZERO_BYTES if config.clip == "minmax" else 0)
        return [row_bytes(count, b) + _WIDTH_BYTES + (grid if b in CODE_BITS else 0) for b in config.bits]

    table = np.array([row(name, layer.in_features) for name, layer in linears.items()], dtype=np.float64)
    in_bytes = np.repeat(table, rows, axis=0)
    # A row of two weights takes a byte at 2 bits and at 4, and less at 16 than at 8 with its scale; the allocation
    # wants sizes that grow, and counting a little too much keeps the budget.
    in_bytes = np.maximum.accumulate(in_bytes, axis=1) + 1e-6 * np.arange(len(bits))
    return np.tile(bits, (len(inputs), 1)), inputs[:, None] * bits, in_bytes


def _both(error: np.ndarray, by_row: np.ndarray, by_weight: np.ndarray, config: QVLA) -> np.ndarray:
    """The levels that keep the mean over channels and the mean over weights within `target_bits`.

    Sizes are shares of the two means. At the best prices of the two budgets both are used up, or one of them is free.
    """
    limit = config.target_bits * (1 + 1e-9)
    rows = np.arange(len(error))

    def at(share: float) -> tuple[np.ndarray, bool, bool]:
        level = allocate(error, (1 - share) * by_row + share * by_weight, limit, config.rule)
        return level, by_row[rows, level].sum() <= limit, by_weight[rows, level].sum() <= limit

    low, high = 0.0, 1.0
    rich, _, fits = at(low)
    if fits:
        return rich
    poor, fits, _ = at(high)
    for _ in range(_ROUNDS):
        if fits:
            return poor
        middle, fits_rows, fits_weights = at((low + high) / 2)
        if fits_rows and fits_weights:
            return middle
        if fits_rows:
            low, rich = (low + high) / 2, middle
        else:
            high, poor = (low + high) / 2, middle
    # The first keeps the mean over channels, the second that over weights, and the smaller width of each row both.
    return np.minimum(rich, poor)
