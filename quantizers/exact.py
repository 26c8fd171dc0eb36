"""True measurements beside the estimate of sensitivity: replace one row, run the module, see how the actions move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from quantizers.calibration import CalibrationSet
from quantizers.candidates import Candidates
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


def compare(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    calibration: CalibrationSet,
    candidates: Candidates,
    values: Mapping[str, torch.Tensor],
    settings: Settings,
) -> Comparison:
    """Measure a seeded sample of channels, and replace the `recheck` most sensitive at the smallest nonzero width."""
    owners = [(name, channel) for name, layer in linears.items() for channel in range(layer.out_features)]
    values = {name: value.clone() for name, value in values.items()}
    batch = {name: tensor[: settings.check_samples] for name, tensor in calibration.batches[0].items()}
    with torch.no_grad():
        actions = layout.forward(module, batch).clone()

    def truth(index: int, level: int) -> float:
        name, channel = owners[index]
        row, mean = candidates.weights[name][level, channel], candidates.means.get(name)
        return action_deviation(module, layout, linears[name], channel, row, mean, batch, actions)

    generator = torch.Generator().manual_seed(settings.seed)
    drawn = torch.randperm(len(owners), generator=generator)[: settings.check_channels].tolist()
    spearman = {}
    for level, width in enumerate(candidates.bits):
        if width < 16 and drawn:
            estimates = [values[owners[index][0]][level, owners[index][1]].item() for index in drawn]
            spearman[str(width)] = rank_correlation(estimates, [truth(index, level) for index in drawn])
    level = next(level for level, width in enumerate(candidates.bits) if width > 0)
    flat = torch.cat([value[level] for value in values.values()])
    top = flat.argsort(descending=True, stable=True)[: settings.recheck].tolist()
    for index in top:
        name, channel = owners[index]
        for level, width in enumerate(candidates.bits):
            if width < 16:
                values[name][level, channel] = truth(index, level)
    return Comparison(values, spearman, len(drawn), len(top))


def rank_correlation(first: list[float], second: list[float]) -> float | None:
    """Spearman's rank correlation with mean ranks for ties; None if a side is constant."""
    ranks = [_mean_ranks(np.array(side)) for side in (first, second)]
    if min(rank.std() for rank in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
