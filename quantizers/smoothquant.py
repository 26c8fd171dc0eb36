"""SmoothQuant (Xiao et al. 2023, arXiv 2211.10438): move outliers from activations into weights, then round both."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from quantizers.blocks import observe
from quantizers.calibration import CalibrationSet
from quantizers.folds import Fold, ModulationFold, NormFold, fold_
from quantizers.grids import Clip
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.plan import Plan, replace_, uniform_bits
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
    """The smoothed and rounded copy. Raises LayoutError if a declared fold does not preserve the function."""
    check_groups(linears, config.group_size)
    check_folds(module, layout, calibration)
    folds = norm_folds(layout, linears)
    peaks = input_peaks(module, layout, folds, calibration)
    alphas = config.alphas if config.alpha is None else (config.alpha,)
    best, deviations = None, {}
    with torch.no_grad():
        actions = [layout.forward(module, batch) for batch in calibration.batches]
        for alpha in alphas:
            smooth = _rounded(smoothed(module, folds, peaks, alpha), linears, config)
            moved = [layout.forward(smooth, batch) for batch in calibration.batches]
            deviation = sum((a - b).double().square().sum().item() for a, b in zip(actions, moved, strict=True))
            if best is None or deviation < min(deviations.values()):
                best = (alpha, smooth)
            deviations[alpha] = deviation
    alpha, smooth = best
    deviation = {f"{candidate:g}": value / calibration.samples() for candidate, value in deviations.items()}
    found = {"alpha": alpha, "squared_deviation_by_alpha": deviation, "smoothed_norms": len(folds)}
    return Plan(uniform_bits(linears, config.weight_bits), diagnostics=found, module=smooth)


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


def smoothed(
    module: nn.Module, folds: tuple[Fold, ...], peaks: Mapping[str, torch.Tensor], alpha: float
) -> nn.Module:
    """A copy of `module` that computes the same, with smaller outliers in its activations."""
    smooth = copy.deepcopy(module)
    for fold in folds:
        weights = [module.get_submodule(name).weight.detach() for name in fold.consumers]
        fold_(smooth, fold, fold.reduce(smoothing_scale(peaks[fold.consumers[0]], weights, alpha)))
    return smooth


def _rounded(module: nn.Module, names: Mapping[str, nn.Linear], config: SmoothQuant) -> nn.Module:
    backend, _ = resolve_backend(config.backend, config.activation_bits)
    for name in names:
        layer = module.get_submodule(name)
        rounded = QuantLinear(
            layer.weight.detach(),
            layer.bias,
            torch.full((layer.out_features,), config.weight_bits),
            clip=config.clip,
            group_size=group_of(layer.in_features, config.group_size),
            activation_bits=config.activation_bits,
            backend=backend,
        )
        replace_(module, name, rounded)
    return module
