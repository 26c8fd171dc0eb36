"""How far AWQ scales up input channels that matter (arXiv 2306.00978, section 3.2), by the error of what they feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from quantizers.blocks import Call, common_part, first_output, swapped_weights, watched
from quantizers.clipping import row_error
from quantizers.folds import Fold
from quantizers.grids import Clip, fake_quantize
from quantizers.scope import GroupChoice, group_of

SMALLEST_SCALE = 1e-4
"""Floor of a scale before it is centred, as published."""


class Settings(Protocol):
    """The fields of a config that the search needs."""

    weight_bits: int
    group_size: GroupChoice
    clip: Clip
    ratios: int


@dataclass
class Seen:
    """What a block's layers saw."""

    total: dict[str, torch.Tensor] = field(default_factory=dict)
    """Layer -> float32[I], the sum of input magnitudes over tokens."""
    gram: dict[str, torch.Tensor] = field(default_factory=dict)
    """Layer -> X^T X, float32[I, I]."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Layer -> tokens."""

    def add(self, name: str, x: torch.Tensor) -> None:
        if name not in self.tokens:
            self.total[name], self.gram[name] = torch.zeros(x.shape[1]), torch.zeros(x.shape[1], x.shape[1])
        self.total[name] += x.abs().sum(dim=0)
        self.gram[name] += x.t() @ x
        self.tokens[name] = self.tokens.get(name, 0) + len(x)


def candidate_scale(importance: torch.Tensor, ratio: float) -> torch.Tensor:
    """float32[P]: the scale of mean magnitudes float32[P] at this ratio, centred on 1."""
    scale = importance.pow(ratio).clamp_min(SMALLEST_SCALE)
    return scale / (scale.max() * scale.min()).sqrt()


def search_ratio(
    importance: torch.Tensor, loss: Callable[[torch.Tensor], float], ratios: int
) -> tuple[float, torch.Tensor]:
    """The ratio of least loss and its scale; the smaller of equal ones. Ratio 0 is a scale of ones."""
    best = (0.0, torch.ones_like(importance))
    least = loss(best[1])
    for k in range(1, ratios):
        scale = candidate_scale(importance, k / ratios)
        error = loss(scale)
        if error < least:
            best, least = (k / ratios, scale), error
    return best


Judged = dict[str, tuple[str, list[Call], list[torch.Tensor]]]
"""First consumer of a fold -> the module that all its consumers lie in, its calls, and what it answered."""


def look(
    module: nn.Module, block: str, names: tuple[str, ...], folds: list[Fold], calls: list[Call]
) -> tuple[Seen, Judged]:
    seen, judged = Seen(), {}
    handles = []
    for fold in folds:
        if len(fold.consumers) > 1:
            judge = common_part(fold.consumers, block)
            answers = judged[fold.consumers[0]] = (judge, [], [])

            def hook(_part, args, kwargs, output, answers=answers) -> None:
                answers[1].append(Call(args, kwargs))
                answers[2].append(first_output(output).detach().clone())

            handles.append(module.get_submodule(judge).register_forward_hook(hook, with_kwargs=True))
    try:
        with watched(module, names, seen.add), torch.no_grad():
            for call in calls:
                call.on(module.get_submodule(block))
    finally:
        for handle in handles:
            handle.remove()
    return seen, judged


def search_fold(
    module: nn.Module, fold: Fold, wanted: list[str], seen: Seen, judged: Judged, config: Settings
) -> tuple[float, torch.Tensor]:
    """Ratio and scale float32[P] of a fold."""
    first = next(name for name in fold.consumers if name in wanted)
    if first not in seen.total:
        return 0.0, fold.reduce(torch.ones(module.get_submodule(first).in_features))
    importance = fold.reduce(seen.total[first] / seen.tokens[first])
    layers = {name: module.get_submodule(name) for name in wanted}
    if fold.consumers[0] not in judged:
        return search_ratio(importance, _own_loss(layers, seen, fold.expand, config), config.ratios)
    judge, calls, answers = judged[fold.consumers[0]]
    judge = module.get_submodule(judge)

    def loss(scale: torch.Tensor) -> float:
        tried = {name: _tried(layer, fold.expand(scale), config) for name, layer in layers.items()}
        with torch.no_grad(), swapped_weights(layers, tried):
            errors = [(call.on(judge) - a).double().square().sum() for call, a in zip(calls, answers, strict=True)]
        return torch.stack(errors).sum().item()

    return search_ratio(importance, loss, config.ratios)


def search_layer(layer: nn.Linear, name: str, seen: Seen, config: Settings) -> tuple[float, torch.Tensor]:
    """Ratio and scale float32[I] of a layer that divides its own input."""
    importance = seen.total[name] / seen.tokens[name]
    return search_ratio(importance, _own_loss({name: layer}, seen, lambda scale: scale, config), config.ratios)


def _own_loss(
    layers: Mapping[str, nn.Linear], seen: Seen, expand: Callable[[torch.Tensor], torch.Tensor], config: Settings
) -> Callable[[torch.Tensor], float]:
    """Squared error of the layers' own outputs, by their gram matrices."""

    def loss(scale: torch.Tensor) -> float:
        errors = [
            row_error(_tried(layer, expand(scale), config) - layer.weight.detach().float(), seen.gram[name]).sum()
            for name, layer in layers.items()
        ]
        return torch.stack(errors).double().sum().item()

    return loss


def _tried(layer: nn.Linear, scale: torch.Tensor, config: Settings) -> torch.Tensor:
    """float32[O, I]: the weight after scaling, rounding and scaling back."""
    group = group_of(layer.in_features, config.group_size)
    return fake_quantize(layer.weight.detach().float() * scale, config.weight_bits, config.clip, group) / scale
