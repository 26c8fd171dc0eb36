"""Which output channel gets how many bits: the allocation of QVLA (arXiv 2602.03782, section on allocation).

Every channel starts at its largest width. Demotions to smaller widths are taken in the order of a rule until the total
size meets the limit, so solutions for shrinking limits are nested and the last demotion taken is always needed.

- `incremental` is the paper's rule: the demotion to the next width that adds least error per unit of size saved.
- `released` is the rule of the authors' code, which divides the whole error at the next width by the size saved.
- `hull` may jump over widths: it walks each channel's lower convex hull of (size, error). This is optimal at every
  size it reaches, where the other two are up to a few per cent off near pruning, because 2 -> 0 bits is often cheaper
  per bit than 4 -> 2.
"""

from __future__ import annotations

import heapq
from typing import Literal

import numpy as np

Rule = Literal["hull", "incremental", "released"]
RULES: tuple[Rule, ...] = ("hull", "incremental", "released")


def allocate(error: np.ndarray, size: np.ndarray, limit: float, rule: Rule = "hull") -> np.ndarray:
    """int64[C]: the chosen level of each of C channels, among L levels from the smallest width to the largest.

    `error` float[C, L] is what a level costs in quality, `size` float[C, L] what it takes in the unit of `limit`.
    Raises ValueError for a limit that not even the smallest widths meet, sizes that do not grow, or errors that are not
    finite.
    """
    error, size = np.asarray(error, dtype=np.float64), np.asarray(size, dtype=np.float64)
    _check(error, size, limit, rule)
    excess = size[:, -1].sum() - limit
    level = np.full(len(size), size.shape[1] - 1)
    if excess <= 0:
        return level
    if rule == "released":
        return _released(error, size, excess, level)
    channel, target, slope, saved = _hull_steps(error, size) if rule == "hull" else _stage_steps(error, size)
    # Equal slopes (dead channels, above all) are taken in the order of the channels; a stable sort keeps their steps.
    order = np.lexsort((channel, slope))
    taken = order[: 1 + np.searchsorted(np.cumsum(saved[order]), excess)]
    np.minimum.at(level, channel[taken], target[taken])
    return level


_Steps = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Channel, target level, error added per size saved, and size saved, of every demotion; a channel's own in order."""


def _hull_steps(error: np.ndarray, size: np.ndarray) -> _Steps:
    parts = []
    rows, at = np.arange(len(size)), np.full(len(size), size.shape[1] - 1)
    steepest = np.full(len(size), -np.inf)
    while len(rows):
        below = np.arange(size.shape[1]) < at[:, None]
        here = np.arange(len(rows))
        gained = np.where(below, size[rows, at][:, None] - size[rows], 1.0)
        slope = np.where(below, (error[rows] - error[rows, at][:, None]) / gained, np.inf)
        # The first minimum is the smallest width, so channels whose points lie on a line go straight to its end.
        target = slope.argmin(axis=1)
        # On a hull slopes grow; the maximum only undoes rounding, so that a sort cannot swap a channel's own steps.
        steepest = np.maximum(steepest, slope[here, target])
        parts.append((rows, target, steepest, gained[here, target]))
        more = target > 0
        rows, at, steepest = rows[more], target[more], steepest[more]
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _stage_steps(error: np.ndarray, size: np.ndarray) -> _Steps:
    added, saved = (error[:, :-1] - error[:, 1:])[:, ::-1], (size[:, 1:] - size[:, :-1])[:, ::-1]
    # A greedy choice takes a channel's cheaper step as soon as the dearer one before it is taken: the running maximum.
    slope = np.maximum.accumulate(added / saved, axis=1)
    channels, steps = slope.shape
    target = np.tile(np.arange(steps - 1, -1, -1), channels)
    return np.repeat(np.arange(channels), steps), target, slope.ravel(), saved.ravel()


def _released(error: np.ndarray, size: np.ndarray, excess: float, level: np.ndarray) -> np.ndarray:
    saved = size[:, 1:] - size[:, :-1]
    key, saved, level = (error[:, :-1] / saved).tolist(), saved.tolist(), level.tolist()
    # (key, arrival, channel): equal keys leave in the order in which they came, as in the authors' code.
    heap = [(steps[-1], channel, channel) for channel, steps in enumerate(key)]
    heapq.heapify(heap)
    arrivals = len(heap)
    while excess > 0 and heap:
        _, _, channel = heapq.heappop(heap)
        level[channel] -= 1
        excess -= saved[channel][level[channel]]
        if level[channel] > 0:
            heapq.heappush(heap, (key[channel][level[channel] - 1], arrivals, channel))
            arrivals += 1
    return np.array(level)


def _check(error: np.ndarray, size: np.ndarray, limit: float, rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f"unknown allocation rule {rule!r}; legal values are {', '.join(RULES)}")
    if error.ndim != 2 or error.shape != size.shape or error.shape[1] < 2:
        raise ValueError(f"error has shape {error.shape}, size {size.shape}; both must be [channels, 2 or more levels]")
    if not np.isfinite(error).all():
        raise ValueError("the sensitivity of some channel is NaN or infinite; check the calibration batches")
    if (np.diff(size, axis=1) <= 0).any():
        raise ValueError("sizes must grow with the level: list the widths from the smallest to the largest, once each")
    smallest, largest = size[:, 0].sum(), size[:, -1].sum()
    if smallest > limit:
        raise ValueError(
            f"the budget {limit:g} is below {smallest:g}, the size of the smallest widths; the legal range is "
            f"{smallest:g} .. {largest:g}; raise the budget or allow smaller widths"
        )
