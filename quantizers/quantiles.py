"""Static activation scales: how large each input channel gets, over the whole calibration set, at each denoising step.

A quantile needs the largest values alone, so those are all that is kept; it is exact, and depends on every sample but
not on their order. A table of scales by step and channel cannot be used by an integer product. `factored` splits it
into a factor per channel, which the weights take before they are rounded, and one per step, which a product can be
scaled by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from quantizers import flow_time
from quantizers.blocks import observe
from quantizers.calibration import CalibrationSet
from quantizers.layout import ModelLayout

SMALLEST = 1e-6
"""Floor of a quantile, as published."""
_WIDEST = 256.0
"""A channel's factor is at most this many times larger or smaller than the typical one: it goes into float16 blocks."""

Entry = Callable[[str, torch.Tensor], torch.Tensor]
"""`(layer, float32[T, I]) -> float32[T, I]`: what is measured, for the input of a layer."""


def quantile_tables(
    module: nn.Module,
    layout: ModelLayout,
    stepped: dict[str, bool],
    calibration: CalibrationSet,
    entry: Entry,
    percentile: float,
) -> dict[str, tuple[torch.Tensor | None, torch.Tensor]]:
    """Layer -> (flow times float32[S] or None, quantiles of magnitudes float32[S, I]) over the calibration set.

    `stepped` says of each layer whether steps are told apart. Raises ValueError for a layer that is never called.
    """
    counts: dict[str, dict[float | None, int]] = {name: {} for name in stepped}
    largest: dict[str, dict[float | None, torch.Tensor]] = {name: {} for name in stepped}

    def step(name: str) -> float | None:
        return _one_time(name) if stepped[name] else None

    def count(name: str, x: torch.Tensor) -> None:
        counts[name][step(name)] = counts[name].get(step(name), 0) + len(x)

    def keep(name: str, x: torch.Tensor) -> None:
        at = step(name)
        values = entry(name, x).abs()
        if at in largest[name]:
            values = torch.cat([largest[name][at], values])
        wanted = _kept(counts[name][at], percentile)
        largest[name][at] = values.topk(min(wanted, len(values)), dim=0).values

    with flow_time.following(module, layout.denoiser):
        for visit in (count, keep) if stepped else ():
            observe(module, layout, list(stepped), calibration, visit)
    for name, found in largest.items():
        if not found:
            raise ValueError(
                f"layer {name!r} is never called on the calibration set, so its activations have no static scale; "
                "use scales per token, or leave its role out of the scope"
            )
    return {name: _table(largest[name], counts[name], percentile) for name in stepped}


def quantile(values: torch.Tensor, percentile: float, total: int) -> torch.Tensor:
    """float32[I]: the quantile of `total` values of which `values` float32[K, I] are the largest, falling.

    Interpolated between neighbours, as `torch.quantile` does.
    """
    from_top = (1 - percentile / 100) * (total - 1)
    upper = int(from_top)
    share = from_top - upper
    lower = min(upper + 1, total - 1)
    return values[upper] * (1 - share) + values[lower] * share


def factored(table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Channel factors float32[I], typically 1, and step factors float32[S], whose products are near float32[S, I]."""
    channel = table.mean(dim=0).clamp_min(SMALLEST)
    channel = channel / channel.log().mean().exp()
    channel = channel.clamp(1 / _WIDEST, _WIDEST)
    return channel, step_factors(table, channel)


def step_factors(table: torch.Tensor, channel: torch.Tensor) -> torch.Tensor:
    """float32[S]: the mean over channels of a table float32[S, I] divided by factors float32[I]."""
    return (table / channel).mean(dim=1).clamp_min(SMALLEST)


def _kept(total: int, percentile: float) -> int:
    return min(total, math.ceil((1 - percentile / 100) * (total - 1)) + 2)


def _table(
    largest: dict[float | None, torch.Tensor], counts: dict[float | None, int], percentile: float
) -> tuple[torch.Tensor | None, torch.Tensor]:
    steps: Sequence[float | None] = sorted(largest) if None not in largest else [None]
    rows = torch.stack([quantile(largest[at], percentile, counts[at]) for at in steps]).clamp_min(SMALLEST)
    return (None if steps == [None] else torch.tensor(steps), rows)


def _one_time(name: str) -> float:
    time = flow_time.current()
    if time is None:
        raise ValueError(f"layer {name!r} is called outside of the denoiser, so it has no scale for each of its steps")
    if not bool((time == time[0]).all()):
        raise ValueError(f"layer {name!r} sees several flow times at once; calibrate with one time for a batch")
    return time[0].item()
