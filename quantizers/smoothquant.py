"""SmoothQuant (Xiao et al. 2023, arXiv 2211.10438): move outliers from activations into weights, then round both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from quantizers.blocks import observe
from quantizers.calibration import CalibrationSet
from quantizers.folds import Fold, ModulationFold, NormFold, float_tensors, folded_owner
from quantizers.grids import Clip
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.plan import Plan, Rewriting, replace_, uniform_bits
from quantizers.preserved import check_folds
from quantizers.scope import (
    BackendChoice,
    GroupChoice,
    check_choices,
    check_groups,
    check_positive,
    group_of,
    resolve_backend,
)
from quantizers.sharing import Changed, Made, sharing_copy

SMALLEST_SCALE = 1e-5
"""Floor of a smoothing scale and of the largest weight of a column, as published."""


@dataclass(frozen=True)
class SmoothQuant:
    """Per-channel scales from the norms into the Linears behind them; W8A8 with a scale per row and per token.

    For each norm, s_j = max|x_j|^alpha / max|W_j|^(1 - alpha) over the calibration set and all its consumers. As
    published, the output projection of attention and the second Linear of an MLP are quantized but not smoothed. The
    authors give one alpha per model, found by hand (0.5 to 0.9); here it is searched on the calibration set by what it
    is for: the deviation of the actions. An input channel that is always 0 is left alone, where the published floor
    would blow up the norm.
    """

    weight_bits: Literal[2, 3, 4, 8, 16] = 8
    """Width of every weight in scope; 16 rounds to float16."""
    activation_bits: Literal[4, 8] | None = 8
    """4 or 8 quantizes each token by its own maximum and multiplies integers; None leaves activations as they are."""
    group_size: GroupChoice = None
    """Inputs that share a scale, None for the whole row, `auto` for 128 or what divides."""
    clip: Clip = "absmax"
    """How the scales of weights are chosen."""
    alpha: float | None = None
    """Share of the outliers that moves, 0 .. 1; None searches `alphas`."""
    alphas: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9)
    """Candidates of the search."""
    roles: tuple[Role, ...] = ("vision", "language", "dit")
    """Parts of the network in scope."""
    backend: BackendChoice = "auto"
    """`auto` multiplies integers if activations are quantized, by compiled steps if there is a compiler."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(self, "group_size")
        for alpha in self.alphas if self.alpha is None else (self.alpha,):
            if not 0 <= alpha <= 1:
                raise ValueError(f"alpha is {alpha}; it must lie in 0 .. 1")


def plan_smoothquant(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: SmoothQuant,
    calibration: CalibrationSet,
) -> Plan:
    """How to smooth and round. Raises LayoutError if a declared fold does not preserve the function."""
    check_groups(linears, config.group_size)
    check_folds(module, layout, calibration)
    folds = norm_folds(layout, linears)
    peaks = input_peaks(module, layout, folds, calibration)
    alphas = config.alphas if config.alpha is None else (config.alpha,)
    deviations = {}
    with torch.no_grad():
        actions = [layout.forward(module, batch) for batch in calibration.batches]
        for alpha in alphas:
            tried = _rounded_anew(module, linears, smoothing(module, folds, peaks, alpha), config)
            moved = [layout.forward(tried, batch) for batch in calibration.batches]
            deviations[alpha] = sum((a - b).double().square().sum().item() for a, b in zip(actions, moved, strict=True))
    alpha = min(deviations, key=deviations.get)

    def rewrite(rewriting: Rewriting) -> dict[str, Any]:
        moves = smoothing(rewriting.module, folds, peaks, alpha)
        for name in _touched(linears, moves):
            changed = _folded(rewriting.module, name, moves)
            if name in linears:
                rewriting.put(name, _rounded(rewriting.module.get_submodule(name), name, changed, config))
            else:
                rewriting.apply(changed)
        return {}

    deviation = {f"{candidate:g}": value / calibration.samples() for candidate, value in deviations.items()}
    found = {"alpha": alpha, "squared_deviation_by_alpha": deviation, "smoothed_norms": len(folds)}
    return Plan(uniform_bits(linears, config.weight_bits), diagnostics=found, rewrite=rewrite)


def norm_folds(layout: ModelLayout, names: Mapping[str, nn.Linear]) -> tuple[Fold, ...]:
    """The folds of the layout behind a norm, with at least one consumer among `names`."""
    return tuple(
        fold
        for fold in layout.folds
        if isinstance(fold, NormFold | ModulationFold) and any(name in names for name in fold.consumers)
    )


def input_peaks(
    module: nn.Module, layout: ModelLayout, folds: tuple[Fold, ...], calibration: CalibrationSet
) -> dict[str, torch.Tensor]:
    """First consumer of each fold -> float32[I]: the largest magnitude of each input over the calibration set."""
    peaks = {fold.consumers[0]: torch.zeros(module.get_submodule(fold.consumers[0]).in_features) for fold in folds}

    def visit(name: str, x: torch.Tensor) -> None:
        peaks[name] = torch.maximum(peaks[name], x.abs().amax(dim=0))

    observe(module, layout, list(peaks), calibration, visit)
    return peaks


def smoothing_scale(peak: torch.Tensor, weights: list[torch.Tensor], alpha: float) -> torch.Tensor:
    """float32[I] of the largest inputs float32[I] and the weights float[O, I] that read them."""
    largest = torch.stack([weight.float().abs().amax(dim=0) for weight in weights]).amax(dim=0)
    scale = peak.pow(alpha) / largest.clamp_min(SMALLEST_SCALE).pow(1 - alpha)
    return torch.where(peak > 0, scale.clamp_min(SMALLEST_SCALE), torch.ones_like(scale))


Moves = list[tuple[Fold, torch.Tensor]]
"""Folds with the scales float32[P] that move through them, in order."""


def smoothing(
    module: nn.Module, folds: tuple[Fold, ...], peaks: Mapping[str, torch.Tensor], alpha: float
) -> Moves:
    """The scales that leave what `module` computes and make the outliers in its activations smaller."""
    moves = []
    for fold in folds:
        weights = [module.get_submodule(name).weight.detach() for name in fold.consumers]
        moves.append((fold, fold.reduce(smoothing_scale(peaks[fold.consumers[0]], weights, alpha))))
    return moves


def _touched(names: Iterable[str], moves: Moves) -> list[str]:
    """The layers of these names, and all other parts that the moves change."""
    return list(dict.fromkeys([*names, *(part for fold, _ in moves for part in (fold.producer, *fold.consumers))]))


def _folded(module: nn.Module, name: str, moves: Moves) -> dict[str, torch.Tensor]:
    """The parameters of a part of `module` after the moves that change it, by their names in `module`."""
    tensors = float_tensors(module, name)
    types = {key: parameter.dtype for key, parameter in module.get_submodule(name).named_parameters(recurse=False)}
    for fold, scale in moves:
        if name in (fold.producer, *fold.consumers):
            changed = folded_owner(tensors, fold, name, scale)
            # A network of half precision holds what each move makes of a parameter as such.
            tensors |= {key: value.to(types[key.rpartition(".")[2]]).float() for key, value in changed.items()}
    return tensors


def _rounded(layer: nn.Linear, name: str, tensors: Mapping[str, torch.Tensor], config: SmoothQuant) -> QuantLinear:
    """What becomes of `layer` with the weight and bias that `tensors` have for its name."""
    return QuantLinear(
        tensors[f"{name}.weight"],
        tensors.get(f"{name}.bias"),
        torch.full((layer.out_features,), config.weight_bits),
        clip=config.clip,
        group_size=group_of(layer.in_features, config.group_size),
        activation_bits=config.activation_bits,
        backend=resolve_backend(config.backend, config.activation_bits)[0],
    )


def _rounded_anew(module: nn.Module, names: Mapping[str, nn.Linear], moves: Moves, config: SmoothQuant) -> nn.Module:
    """A copy of `module`, smoothed and rounded, whose layers are made for each call and hold nothing."""
    tried = sharing_copy(module)

    def make(name: str) -> QuantLinear:
        return _rounded(module.get_submodule(name), name, _folded(module, name, moves), config)

    def own(name: str) -> dict[str, torch.Tensor]:
        part = module.get_submodule(name)
        tensors = _folded(module, name, moves)
        return {key: tensors[f"{name}.{key}"].to(old.dtype) for key, old in part.named_parameters(recurse=False)}

    for name in _touched(names, moves):
        part = Made(partial(make, name)) if name in names else Changed(module.get_submodule(name), partial(own, name))
        replace_(tried, name, part)
    return tried
