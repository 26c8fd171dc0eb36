"""AWQ (Lin et al. 2023, arXiv 2306.00978): scale up the input channels that matter, clip the weights, then round them.

A column whose inputs are large deserves a finer grid. Multiplying it by s and dividing its input by s gives it one, at
the cost of the others in its group; how far to go is searched by the error of what the scaled layers feed. All inputs
are those of the full-precision network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from quantizers.around import Around
from quantizers.blocks import check_inputs, in_turn, record_calls, stages
from quantizers.calibration import CalibrationSet
from quantizers.clipping import clip_and_code
from quantizers.folds import Fold, ValueFold, apply_, float_tensors, fold_, folded_owner
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.plan import Plan, Rewriting, uniform_bits
from quantizers.preserved import check_folds
from quantizers.salience import look, search_fold, search_layer
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
    seen, judged = look(module, block, names, folds, calls)
    del calls
    made, scaled, ratios = _Made(), sharing_copy(module), {}
    scales, own = {name: torch.ones(module.get_submodule(name).in_features) for name in names}, {}
    for fold in folds:
        ratio, scale = search_fold(module, fold, [n for n in fold.consumers if n in names], seen, judged, config)
        ratios[fold.producer] = ratio
        if ratio:
            made.moves.append((fold, scale))
            fold_(scaled, fold, scale)
            scales |= {name: fold.expand(scale) for name in fold.consumers if name in names}
    judged.clear()
    foldable = {name for fold in layout.folds if fold.producer not in earlier for name in fold.consumers}
    for name in names if config.input_scales else ():
        if name not in foldable and name in seen.total:
            ratios[name], scale = search_layer(module.get_submodule(name), name, seen, config)
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


def _folds_of(layout: ModelLayout, names: tuple[str, ...], wanted: Mapping[str, nn.Linear]) -> list[Fold]:
    """The folds whose wanted consumers are all among `names`, without those that shared value heads rule out."""
    found = []
    for fold in layout.folds:
        consumers = {name for name in fold.consumers if name in wanted}
        if consumers and consumers <= set(names) and not (isinstance(fold, ValueFold) and fold.repeats > 1):
            found.append(fold)
    return found
