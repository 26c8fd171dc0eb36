"""AWQ (Lin et al. 2023, arXiv 2306.00978): scale up the input channels that matter, clip the weights, then round them.

A column whose inputs are large deserves a finer grid. Multiplying it by s and dividing its input by s gives it one, at
the cost of the others in its group; how far to go is searched by the error of what the scaled layers feed. All inputs
are those of the full-precision network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from quantizers.around import Around
from quantizers.blocks import (
    Call,
    check_inputs,
    common_part,
    first_output,
    in_turn,
    record_calls,
    stages,
    swapped_weights,
    watched,
)
from quantizers.calibration import CalibrationSet
from quantizers.clipping import clip_and_code, row_error
from quantizers.folds import Fold, ValueFold, apply_, float_tensors, fold_, folded_owner
from quantizers.grids import fake_quantize
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.plan import Plan, Rewriting, uniform_bits
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
from quantizers.sharing import sharing_copy

SMALLEST_SCALE = 1e-4
"""Floor of a scale before it is centred, as published."""


@dataclass(frozen=True)
class AWQ:
    """Activation-aware scales and clipped weights: W4A16 in groups of 128 with zero points.

    The published setting: importance is the mean magnitude of an input, ratios 0, 1/20 .. 19/20, clip points 1 .. 0.55,
    queries and keys not clipped, no scale between values and output where heads share values. `auto` groups are 128,
    or 64 or 32 where 128 does not divide. Scales with no neighbour to fold into stay in the layer, which divides its
    input; the authors wrap the activation function instead, to the same effect.
    """

    weight_bits: Literal[2, 3, 4, 8] = 4
    """Width of every weight in scope."""
    activation_bits: Literal[4, 8] | None = None
    """4 or 8 quantizes each token by its own maximum and multiplies integers; None leaves activations as they are."""
    group_size: GroupChoice = "auto"
    """Inputs that share a scale, None for the whole row, `auto` for 128 or what divides."""
    clip: Literal["minmax", "absmax"] = "minmax"
    """The grid: with or without a zero point."""
    ratios: int = 20
    """Exponents tried for the scale, k / ratios for k = 0 .. ratios - 1."""
    clip_steps: int = 10
    """Clip points tried, from 1 down in steps of 0.05; 1 does not clip."""
    input_scales: bool = True
    """Whether a layer that no neighbour can scale gets a scale of its own, 4 bytes per input."""
    roles: tuple[Role, ...] = ("vision", "language", "dit")
    """Parts of the network in scope."""
    backend: BackendChoice = "auto"
    """`auto` multiplies integers if activations are quantized, by compiled steps if there is a compiler."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(self, "group_size", "ratios", "clip_steps")
        if self.clip_steps > 20:
            raise ValueError(f"clip_steps is {self.clip_steps}; steps of 0.05 reach 0 after 20")


@dataclass
class _Seen:
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


@dataclass
class _Made:
    """What is made of a block."""

    moves: list[tuple[Fold, torch.Tensor]] = field(default_factory=list)
    """Folds with the scales float32[P] that move through them."""
    layers: dict[str, QuantLinear] = field(default_factory=dict)
    """Its layers, packed."""


def plan_awq(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: AWQ,
    calibration: CalibrationSet,
) -> Plan:
    """How to scale, clip and round. Raises LayoutError if a declared fold does not preserve the function.

    Blocks are rewritten from the last to the first, so that each still gets its inputs from full precision.
    """
    check_groups(linears, config.group_size)
    check_folds(module, layout, calibration)
    check_inputs(module, layout, linears, calibration)
    names = stages(layout, list(linears))
    groups = in_turn(module, layout, list(names), calibration)

    def rewrite(rewriting: Rewriting) -> dict[str, Any]:
        ratios: dict[str, dict[str, float]] = {}
        for group in reversed(groups):
            made = []
            for block in reversed(group):
                earlier = {name for other in list(names)[: list(names).index(block)] for name in names[other]}
                ratios[block], result = _made(rewriting.module, layout, block, names[block], earlier, linears, config,
                                              calibration)
                made.append(result)
            for result in reversed(made):
                _put(rewriting, result, linears)
        return {"ratios": {name: ratio for block in names for name, ratio in ratios[block].items()}}

    return Plan(uniform_bits(linears, config.weight_bits), rewrite=rewrite)


def _put(rewriting: Rewriting, made: _Made, wanted: Collection[str]) -> None:
    for fold, scale in made.moves:
        for owner in (fold.producer, *fold.consumers):
            if owner not in wanted:
                rewriting.apply(folded_owner(float_tensors(rewriting.module, owner), fold, owner, scale))
    for name, layer in made.layers.items():
        rewriting.put(name, layer)


def _made(
    module: nn.Module,
    layout: ModelLayout,
    block: str,
    names: tuple[str, ...],
    earlier: set[str],
    wanted: Mapping[str, nn.Module],
    config: AWQ,
    calibration: CalibrationSet,
) -> tuple[dict[str, float], _Made]:
    """Ratios, and what becomes of a block; layers of `earlier` blocks can take no scale."""
    backend, _ = resolve_backend(config.backend, config.activation_bits)
    unclipped = {name for site in layout.attention for name in (site.query, site.key)}
    calls = record_calls(module, layout, block, calibration)
    folds = [fold for fold in _folds_of(layout, names, wanted) if fold.producer not in earlier]
    seen, judged = _look(module, block, names, folds, calls)
    del calls
    made, scaled, ratios = _Made(), sharing_copy(module), {}
    scales, own = {name: torch.ones(module.get_submodule(name).in_features) for name in names}, {}
    for fold in folds:
        ratio, scale = _search(module, fold, [n for n in fold.consumers if n in names], seen, judged, config)
        ratios[fold.producer] = ratio
        if ratio:
            made.moves.append((fold, scale))
            fold_(scaled, fold, scale)
            scales |= {name: fold.expand(scale) for name in fold.consumers if name in names}
    judged.clear()
    foldable = {name for fold in layout.folds if fold.producer not in earlier for name in fold.consumers}
    for name in names if config.input_scales else ():
        if name not in foldable and name in seen.total:
            ratios[name], scale = _search_alone(module.get_submodule(name), name, seen, config)
            if ratios[name]:
                own[name] = scales[name] = scale
                apply_(scaled, {f"{name}.weight": scaled.get_submodule(name).weight.detach() * scale})
    for name in names:
        layer = scaled.get_submodule(name)
        gram = seen.gram.pop(name, None)
        gram = torch.zeros(layer.in_features, layer.in_features) if gram is None else gram
        group = group_of(layer.in_features, config.group_size)
        steps = 1 if name in unclipped else config.clip_steps
        gram.div_(scales[name] * scales[name].unsqueeze(1))
        coded = clip_and_code(layer.weight.detach(), gram, config.weight_bits, config.clip, group, steps)
        options = {"activation_bits": config.activation_bits, "backend": backend, "around": Around(own.get(name))}
        made.layers[name] = QuantLinear.from_codes(coded, config.weight_bits, layer.bias, **options)
    return ratios, made


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


def _folds_of(layout: ModelLayout, names: tuple[str, ...], wanted: Mapping[str, nn.Linear]) -> list[Fold]:
    """The folds whose wanted consumers are all among `names`, without those that shared value heads rule out."""
    found = []
    for fold in layout.folds:
        consumers = {name for name in fold.consumers if name in wanted}
        if consumers and consumers <= set(names) and not (isinstance(fold, ValueFold) and fold.repeats > 1):
            found.append(fold)
    return found


_Judged = dict[str, tuple[str, list[Call], list[torch.Tensor]]]
"""First consumer of a fold -> the module that all its consumers lie in, its calls, and what it answered."""


def _look(
    module: nn.Module, block: str, names: tuple[str, ...], folds: list[Fold], calls: list[Call]
) -> tuple[_Seen, _Judged]:
    seen, judged = _Seen(), {}
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


def _search(
    module: nn.Module, fold: Fold, wanted: list[str], seen: _Seen, judged: _Judged, config: AWQ
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


def _search_alone(layer: nn.Linear, name: str, seen: _Seen, config: AWQ) -> tuple[float, torch.Tensor]:
    """Ratio and scale float32[I] of a layer that divides its own input."""
    importance = seen.total[name] / seen.tokens[name]
    return search_ratio(importance, _own_loss({name: layer}, seen, lambda scale: scale, config), config.ratios)


def _own_loss(
    layers: Mapping[str, nn.Linear], seen: _Seen, expand: Callable[[torch.Tensor], torch.Tensor], config: AWQ
) -> Callable[[torch.Tensor], float]:
    """Squared error of the layers' own outputs, by their gram matrices."""

    def loss(scale: torch.Tensor) -> float:
        errors = [
            row_error(_tried(layer, expand(scale), config) - layer.weight.detach().float(), seen.gram[name]).sum()
            for name, layer in layers.items()
        ]
        return torch.stack(errors).double().sum().item()

    return loss


def _tried(layer: nn.Linear, scale: torch.Tensor, config: AWQ) -> torch.Tensor:
    """float32[O, I]: the weight after scaling, rounding and scaling back."""
    group = group_of(layer.in_features, config.group_size)
    return fake_quantize(layer.weight.detach().float() * scale, config.weight_bits, config.clip, group) / scale
