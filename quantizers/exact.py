"""True measurements beside the estimate of sensitivity: replace one row, run the module, see how the actions move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from quantizers.calibration import CalibrationSet
from quantizers.layout import ModelLayout
from quantizers.sensitivity import action_deviation


class Settings(Protocol):
    """The fields of a config that say how much to measure."""

    recheck: int
    check_channels: int
    check_samples: int
    seed: int


@dataclass(frozen=True)
class Comparison:
    """What true measurements said."""

    values: dict[str, torch.Tensor]
    """Layer name -> float64[L, O], the estimates, with the rechecked channels replaced by their true values."""
    spearman: dict[str, float | None]
    """Width -> rank correlation of estimate and truth over the checked channels; None if either is constant."""
    checked: int
    """Channels drawn for the correlation."""
    replaced: int
    """Channels whose estimate was replaced."""


Channel = tuple[str, int]
"""Layer name and output."""
Row = tuple[torch.Tensor, torch.Tensor | None]
"""float32[L, I], a channel's row at each width, and the mean input float32[I] for which its bias makes up."""


def drawn(linears: Mapping[str, nn.Linear], settings: Settings) -> list[Channel]:
    """The seeded sample of channels that are measured."""
    owners = [(name, channel) for name, layer in linears.items() for channel in range(layer.out_features)]
    generator = torch.Generator().manual_seed(settings.seed)
    return [owners[i] for i in torch.randperm(len(owners), generator=generator)[: settings.check_channels].tolist()]


def compare(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    calibration: CalibrationSet,
    bits: tuple[int, ...],
    rows: Mapping[Channel, Row],
    rows_of: Callable[[Sequence[Channel]], Mapping[Channel, Row]],
    values: Mapping[str, torch.Tensor],
    settings: Settings,
) -> Comparison:
    """Measure the channels of `rows`, and replace the `recheck` most sensitive at the smallest nonzero width."""
    values = {name: value.clone() for name, value in values.items()}
    batch = {name: tensor[: settings.check_samples] for name, tensor in calibration.batches[0].items()}
    with torch.no_grad():
        actions = layout.forward(module, batch).clone()

    def truth(channel: Channel, row: Row, level: int) -> float:
        name, output = channel
        return action_deviation(module, layout, linears[name], output, row[0][level], row[1], batch, actions)

    spearman = {}
    for level, width in enumerate(bits):
        if width < 16 and rows:
            estimates = [values[name][level, channel].item() for name, channel in rows]
            true = [truth(channel, row, level) for channel, row in rows.items()]
            spearman[str(width)] = rank_correlation(estimates, true)
    top = _most_sensitive(values, next(level for level, width in enumerate(bits) if width > 0), settings.recheck)
    for (name, channel), row in rows_of(top).items():
        for level, width in enumerate(bits):
            if width < 16:
                values[name][level, channel] = truth((name, channel), row, level)
    return Comparison(values, spearman, len(rows), len(top))


def _most_sensitive(values: Mapping[str, torch.Tensor], level: int, count: int) -> list[Channel]:
    owners = [(name, channel) for name, value in values.items() for channel in range(value.shape[1])]
    flat = torch.cat([value[level] for value in values.values()])
    return [owners[i] for i in flat.argsort(descending=True, stable=True)[:count].tolist()]


def rank_correlation(first: list[float], second: list[float]) -> float | None:
    """Spearman's rank correlation with mean ranks for ties; None if a side is constant."""
    ranks = [_mean_ranks(np.array(side)) for side in (first, second)]
    if min(rank.std() for rank in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
