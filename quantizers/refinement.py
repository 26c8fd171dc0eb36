"""The last step of an allocation: use up what the convex hull leaves of the budget.

The hull is optimal at the size it reaches, which is up to one demotion below the limit. Which widths suit the limit
itself is a knapsack with one choice per channel; as usual for it (Pisinger 1995), only the channels whose price is near
that of the last demotion can change, and for this core the dynamic program is solved exactly.
"""

from __future__ import annotations

import numpy as np

CORE_CHANNELS = 48
"""Channels that may change; as few channels or less are allocated exactly."""
_MOST_CELLS = 1 << 18
"""Sizes that the dynamic program tells apart; larger ones are rounded up to coarser units."""


def refine(error: np.ndarray, size: np.ndarray, limit: float, level: np.ndarray) -> np.ndarray:
    """int64[C]: `level` int64[C], an allocation within `limit`, changed where that lowers the error within the limit.

    `error` and `size` are float[C, L] as for `quantizers.allocation.allocate`; sizes are rounded up to whole numbers.
    """
    error, size = np.asarray(error, dtype=np.float64), np.asarray(size, dtype=np.float64)
    rows = np.arange(len(size))
    core = _core(error, size, level)
    room = limit - (size[rows, level].sum() - size[core, level[core]].sum())
    chosen = _solved(error[core], size[core], room)
    refined = level.copy()
    if chosen is not None and error[core, chosen].sum() < error[core, level[core]].sum():
        refined[core] = chosen
    return refined


def _core(error: np.ndarray, size: np.ndarray, level: np.ndarray) -> np.ndarray:
    """int64[K]: the channels for which one more unit of size is worth most, or one less costs least."""
    if len(size) <= CORE_CHANNELS:
        return np.arange(len(size))
    here_error, here_size = error[np.arange(len(size)), level], size[np.arange(len(size)), level]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (error - here_error[:, None]) / (here_size[:, None] - size)
    levels = np.arange(size.shape[1])
    gain = np.where(levels > level[:, None], slope, -np.inf).max(axis=1)
    loss = np.where(levels < level[:, None], slope, np.inf).min(axis=1)
    half = CORE_CHANNELS // 2
    return np.unique(np.concatenate([np.argpartition(-gain, half)[:half], np.argpartition(loss, half)[:half]]))


def _solved(error: np.ndarray, size: np.ndarray, room: float) -> np.ndarray | None:
    """int64[K]: the levels of least error whose sizes fit `room`; None if rounding the sizes up leaves none."""
    # Sizes that differ from whole numbers by rounding alone are meant to be whole.
    whole = np.ceil(size - 1e-3).astype(np.int64)
    base = whole.min(axis=1)
    unit = max(1, np.gcd.reduce((whole - base[:, None]).ravel()))
    cells = int((room - base.sum()) // unit)
    if cells < 0:
        return None
    coarse = 1 + cells // _MOST_CELLS
    extra, cells = -(-(whole - base[:, None]) // (unit * coarse)), cells // coarse
    best = np.zeros(cells + 1)
    choices = []
    for channel in range(len(error)):
        found, choice = np.full(cells + 1, np.inf), np.zeros(cells + 1, dtype=np.int8)
        for level in range(error.shape[1]):
            shift = extra[channel, level]
            if shift > cells:
                continue
            total = best[: cells + 1 - shift] + error[channel, level]
            better = total < found[shift:]
            found[shift:][better] = total[better]
            choice[shift:][better] = level
        best, at = found, choice
        choices.append(at)
    levels, cell = np.zeros(len(error), dtype=np.int64), cells
    for channel in reversed(range(len(error))):
        levels[channel] = choices[channel][cell]
        cell -= extra[channel, levels[channel]]
    return levels
