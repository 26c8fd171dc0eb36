"""Which output channel gets how many bits: the allocation of QVLA (arXiv 2602.03782, section on allocation).

Every channel starts at its largest width. Demotions to smaller widths are taken in the order of a rule until the total
size meets the limit, so solutions for shrinking limits are nested and the last demotion taken is always needed.

- `incremental` is the paper's rule: the demotion to the next width that adds least error per unit of size saved.
- `released` is the rule of the authors' code, which divides the whole error at the next width by the size saved.
- `hull` may jump over widths: it walks each channel's lower convex hull of (size, error). This is optimal at every
  size it reaches, where the other two are up to a few per cent off near pruning, because 2 -> 0 bits is often cheaper
  per bit than 4 -> 2. `quantizers.refinement` closes the gap between that size and the limit.

No rule needs its order as a whole: the price of the last demotion is found by quickselect, everything cheaper is taken
at once, and only what ties with it is looked at one by one. Seven billion parameters (two million channels) take about
a second.
"""

from __future__ import annotations

import heapq
from typing import Literal, NamedTuple

import numpy as np

Rule = Literal["hull", "incremental", "released"]
RULES: tuple[Rule, ...] = ("hull", "incremental", "released")

_CHUNK = 1 << 14
"""Channels walked at once; small enough that the temporaries stay in cache."""
_SAMPLE = 1025
"""Prices whose median splits the rest."""


class _Steps(NamedTuple):
    """Every channel's demotions, S per channel, in the order in which it takes them."""

    price: np.ndarray
    """float64[S, C]: error added per size saved; a channel's prices never fall. NaN where a hull skips a width."""
    saved: np.ndarray
    """float64[S, C]: size saved; 0 where a hull skips a width."""


def allocate(error: np.ndarray, size: np.ndarray, limit: float, rule: Rule = "hull") -> np.ndarray:
    """int64[C]: the chosen level of each of C channels, among L levels from the smallest width to the largest.

    `error` float[C, L] is what a level costs in quality, `size` float[C, L] what it takes in the unit of `limit`.
    Raises ValueError for a limit that not even the smallest widths meet, sizes that do not grow, or errors that are not
    finite.
    """
    # Levels first and from the largest width down, so that every operation runs over all channels in memory order.
    error = np.ascontiguousarray(np.asarray(error, dtype=np.float64).T[::-1])
    size = np.ascontiguousarray(np.asarray(size, dtype=np.float64).T[::-1])
    _check(error, size, limit, rule)
    levels, channels = size.shape
    excess = size[0].sum() - limit
    if excess <= 0:
        return np.full(channels, levels - 1)
    if rule == "released":
        down = _released(error, size, excess)
    else:
        steps = _hull_steps(error, size) if rule == "hull" else _stage_steps(error, size)
        taken = _cheapest(steps, excess)
        # Prices never fall along a channel, so what is taken of it is a beginning: its last step says where it ends.
        down = np.zeros(channels, dtype=np.int64)
        for step in range(levels - 1):
            np.putmask(down, taken[step], step + 1)
    return levels - 1 - down


def _hull_steps(error: np.ndarray, size: np.ndarray) -> _Steps:
    levels, channels = error.shape
    steps = _Steps(np.full((levels - 1, channels), np.nan), np.zeros((levels - 1, channels)))
    for first in range(0, channels, _CHUNK):
        part = slice(first, first + _CHUNK)
        _walk(error[:, part], size[:, part], _Steps(steps.price[:, part], steps.saved[:, part]))
    return steps


def _walk(error: np.ndarray, size: np.ndarray, steps: _Steps) -> None:
    """Fill in the walk down each channel's hull; step s, if it is not skipped, ends at level s + 1 from the top."""
    levels, channels = error.shape
    least, at = np.full(channels, -np.inf), np.zeros(channels, dtype=np.int8)
    for start in range(levels - 1):
        # The channels that stand at this level look for the smallest price below; of equal ones the smallest width, so
        # that points on a line go straight to its end.
        best, target = np.full(channels, np.inf), np.zeros(channels, dtype=np.int8)
        for level in range(start + 1, levels):
            slope = (error[level] - error[start]) / (size[start] - size[level])
            better = slope <= best
            np.copyto(best, slope, where=better)
            np.putmask(target, better, level)
        here = at == start
        # On a hull slopes grow; the maximum only undoes rounding, so that a channel's own steps stay in order.
        np.maximum(least, best, out=least, where=here)
        for level in range(start + 1, levels):
            goes = here & (target == level)
            np.copyto(steps.price[level - 1], least, where=goes)
            np.copyto(steps.saved[level - 1], size[start] - size[level], where=goes)
            np.putmask(at, goes, level)


def _stage_steps(error: np.ndarray, size: np.ndarray) -> _Steps:
    saved = size[:-1] - size[1:]
    # A greedy choice takes a channel's cheaper step as soon as the dearer one before it is taken: the running maximum.
    return _Steps(np.maximum.accumulate((error[1:] - error[:-1]) / saved, axis=0), saved)


def _cheapest(steps: _Steps, excess: float) -> np.ndarray:
    """bool[S, C]: the cheapest steps that save `excess`; of equal ones those of the first channels, in their order."""
    price, before = _last_price(steps, excess)
    taken = steps.price < price
    channel, step = np.nonzero(steps.price.T == price)
    total = before + np.cumsum(steps.saved[step, channel])
    some = 1 + np.searchsorted(total, excess)
    taken[step[:some], channel[:some]] = True
    return taken


def _last_price(steps: _Steps, excess: float) -> tuple[float, float]:
    """The price of the last step that has to be taken to save `excess`, and what all cheaper ones save."""
    real = ~np.isnan(steps.price)
    price, saved, before = steps.price[real], steps.saved[real], 0.0
    while True:
        pivot = np.median(price[:: 1 + len(price) // _SAMPLE])
        below, above = price < pivot, price > pivot
        less, equal = saved[below].sum(), saved[~(below | above)].sum()
        if before + less >= excess:
            price, saved = price[below], saved[below]
        elif before + less + equal >= excess or not above.any():
            # An even number of prices may have a median between two of them: go on with what is left.
            if equal > 0:
                return float(pivot), before + less
            price, saved, before = price[above], saved[above], before + less
        else:
            price, saved, before = price[above], saved[above], before + less + equal


def _released(error: np.ndarray, size: np.ndarray, excess: float) -> np.ndarray:
    """int64[C]: demotions of each channel, as many as the authors' heap takes, equal keys in the order of arrival."""
    saved = size[:-1] - size[1:]
    key = error[1:] / saved
    # The heap pops a step of a smaller key than its predecessor's right behind it: the running maximum again.
    price = np.maximum.accumulate(key, axis=0)
    last, before = _last_price(_Steps(price, saved), excess)
    down = (price < last).sum(axis=0)
    tied = np.flatnonzero((down < len(price)) & (price[np.minimum(down, len(price) - 1), np.arange(len(down))] == last))
    heap = [(last, arrival, channel) for arrival, channel in enumerate(tied[_arrivals(key[:, tied], down[tied])])]
    arrivals, left = len(heap), excess - before
    while left > 0 and heap:
        _, _, channel = heapq.heappop(heap)
        left -= saved[down[channel], channel]
        down[channel] += 1
        if down[channel] < len(key):
            heapq.heappush(heap, (key[down[channel], channel], arrivals, channel))
            arrivals += 1
    return down


def _arrivals(key: np.ndarray, down: np.ndarray) -> np.ndarray:
    """int64[C]: the channels in the order in which the heap got their next step, after `down` steps of each.

    A step arrives when its predecessor is popped, which is ordered by that one's key and then by its own arrival; a
    predecessor of a smaller key than the one before it is popped at once and changes nothing.
    """
    steps, channels = key.shape
    history = np.full((steps, channels), -np.inf)
    for step in range(steps):
        highest = history[0] <= key[step]
        pushed = highest & (step < down)
        history[1:, pushed] = history[:-1, pushed]
        history[0, pushed] = key[step, pushed]
    return np.lexsort((np.arange(channels), *history[::-1]))


def _check(error: np.ndarray, size: np.ndarray, limit: float, rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f"unknown allocation rule {rule!r}; legal values are {', '.join(RULES)}")
    if error.ndim != 2 or error.shape != size.shape or error.shape[0] < 2:
        raise ValueError(
            f"error has shape {error.T.shape}, size {size.T.shape}; both must be [channels, 2 or more levels]"
        )
    if not np.isfinite(error).all():
        raise ValueError("the sensitivity of some channel is NaN or infinite; check the calibration batches")
    if (size[1:] >= size[:-1]).any():
        raise ValueError("sizes must grow with the level: list the widths from the smallest to the largest, once each")
    smallest, largest = size[-1].sum(), size[0].sum()
    if smallest > limit:
        raise ValueError(
            f"the budget {limit:g} is below {smallest:g}, the size of the smallest widths; the legal range is "
            f"{smallest:g} .. {largest:g}; raise the budget or allow smaller widths"
        )
