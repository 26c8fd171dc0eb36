"""Rotating every layer of a network without changing what it computes: folded into neighbours, or done at run time.

Values reach the output projection of an attention as averages, so what rotates the inputs of the one rotates the rows
of the other, head by head, and costs nothing. Queries and keys meet in a dot product that a common rotation of a head
leaves alone, unless positions rotate them too. All other rotations are products at run time. `prove` compares the
actions before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from quantizers.around import Around, entered
from quantizers.calibration import CalibrationSet
from quantizers.folds import AttentionSite, ValueFold, apply_, fold_
from quantizers.layout import ModelLayout
from quantizers.plan import replace_
from quantizers.preserved import check_unchanged
from quantizers.rotation import (
    Permutation,
    Rotation,
    block_size,
    dealt,
    input_blocks,
    moved_in,
    moved_out,
    output_blocks,
    turned,
)
from quantizers.sharing import Made, sharing_copy

Scales = Literal["token", "tensor", "step", "channel"]
"""Scales of activations: found for each token as it comes; or static, from the calibration set: one for all, one for
each denoising step, or (as published) one for each step and input channel, which no integer product can use."""


@dataclass(frozen=True)
class Recipe:
    """What is done to one layer."""

    rotation: Rotation
    """How its input is rotated."""
    block: int
    """Most channels of a block."""
    permute: Permutation = "none"
    """How its inputs are dealt to the blocks; only of a rotation at run time."""
    outputs: bool = False
    """Whether its output is rotated, too."""
    scales: Scales = "token"
    """Scales of its activations."""
    rounding: Literal["gptq", "nearest"] = "nearest"
    """How its weight is rounded."""


@dataclass
class Turning:
    """A copy of a network on the way to being rotated: rotations that neighbours took are in its weights."""

    module: nn.Module
    """The copy."""
    around: dict[str, Around] = field(default_factory=dict)
    """Layer -> what is left to do at run time."""
    values: dict[str, ValueFold] = field(default_factory=dict)
    """Layer whose inputs a neighbour rotates -> the fold that says so."""
    rows_done: set[str] = field(default_factory=set)
    """Layers whose rows are rotated for the sake of a neighbour."""

    def divide_(self, name: str, scale: torch.Tensor) -> torch.Tensor:
        """Let the input of a layer come divided by float32[I], as far as a fold allows; return what it is divided by.

        Costs nothing at run time unless the layer is not rotated at all.
        """
        around = self.around[name]
        if name in self.values:
            fold = self.values[name]
            shared = fold.reduce(scale)
            fold_(self.module, fold, shared)
            return fold.expand(shared)
        if around.turn_in is None:
            self.around[name] = around._replace(input_scale=scale)
            return scale
        columns = scale.unflatten(0, (len(around.turn_in), 1, -1))
        self.around[name] = around._replace(turn_in=(around.turn_in.float() / columns).half())
        return scale

    def entered(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """float32[T, I]: what the weight is multiplied with, for inputs of a layer float32[T, I]."""
        return entered(self.around[name], x)

    def weight(self, name: str) -> torch.Tensor:
        """float32[O, I]: the weight of a layer between what is done to its input and to its output."""
        around, weight = self.around[name], self.module.get_submodule(name).weight.detach()
        if around.input_scale is not None:
            weight = weight * around.input_scale
        if around.order is not None:
            weight = weight[:, around.order.long()]
        if around.turn_in is not None:
            weight = moved_in(weight, around.turn_in)
        return (weight if around.turn_out is None else moved_out(weight, around.turn_out)).float()

    def bias(self, name: str) -> torch.Tensor | None:
        """float32[O]: its bias, likewise."""
        around, bias = self.around[name], self.module.get_submodule(name).bias
        if bias is None or around.turn_out is None:
            return None if bias is None else bias.detach().float()
        return moved_out(bias.detach(), around.turn_out).float()

    def moments(self, name: str, moments: torch.Tensor) -> torch.Tensor:
        """float32[I, I]: X^T X of what the weight is multiplied with, for `moments` of the layer's input."""
        return self.entered(name, self.entered(name, moments.float()).t().contiguous())


class Turned(nn.Module):
    """A layer in full precision with its turns, for the proof."""

    def __init__(self, turning: Turning, name: str) -> None:
        super().__init__()
        self.around, self.weight, self.bias = turning.around[name], turning.weight(name), turning.bias(name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.linear(entered(self.around, x.flatten(0, -2).float()), self.weight, self.bias)
        y = y if self.around.turn_out is None else turned(y, self.around.turn_out)
        return y.unflatten(0, x.shape[:-1]).to(x.dtype)


def turning(module: nn.Module, layout: ModelLayout, recipes: Mapping[str, Recipe]) -> Turning:
    """A rotated copy of `module` that shares what is not rotated; `recipes` has the layers to rotate."""
    made = Turning(sharing_copy(module))
    for fold in layout.folds:
        consumer = fold.consumers[0]
        if isinstance(fold, ValueFold) and {fold.producer, *fold.consumers} <= recipes.keys():
            if recipes[consumer].rotation != "none":
                _fold_values_(made, fold, recipes[consumer])
    for site in layout.attention:
        both = [recipes.get(name) for name in (site.query, site.key)]
        if site.rotary == "none" and all(recipe is not None and recipe.outputs for recipe in both):
            _fold_heads_(made, site, both[0])
    heads = {name: site.head_dim for site in layout.attention for name in (site.query, site.key)}
    for name, recipe in recipes.items():
        made.around[name] = _left_over(made, name, recipe, heads.get(name))
    return made


def prove(made: Turning, module: nn.Module, layout: ModelLayout, calibration: CalibrationSet) -> float:
    """How far the rotated network, before any rounding, moves the actions of `module`, relative to the largest.

    Raises LayoutError above the limit of `quantizers.preserved`.
    """
    rotated = sharing_copy(made.module)
    for name in made.around:
        replace_(rotated, name, Made(partial(Turned, made, name)))
    return check_unchanged(module, rotated, layout, calibration, "the rotations")


def _fold_values_(made: Turning, fold: ValueFold, recipe: Recipe) -> None:
    values, readers = made.module.get_submodule(fold.producer), fold.consumers
    size = block_size(fold.head_dim, recipe.block)
    # Query heads that read one value head share its rotation: their columns count as more rows of one weight.
    columns = [made.module.get_submodule(name).weight.detach() for name in readers]
    shared = [w.unflatten(1, (-1, fold.repeats, fold.head_dim)).transpose(1, 2).flatten(0, 1).flatten(1)
              for w in columns]
    blocks = input_blocks(torch.cat(shared), size, recipe.rotation)
    heads = blocks.unflatten(0, (-1, fold.head_dim // size)).repeat_interleave(fold.repeats, dim=0).flatten(0, 1)
    changed = {f"{name}.weight": moved_in(weight, heads) for name, weight in zip(readers, columns, strict=True)}
    changed[f"{fold.producer}.weight"] = turned(values.weight.detach().double().t(), blocks).t()
    if values.bias is not None:
        changed[f"{fold.producer}.bias"] = turned(values.bias.detach().double().unsqueeze(0), blocks).squeeze(0)
    apply_(made.module, changed)
    made.rows_done.add(fold.producer)
    made.values |= {name: fold for name in readers}


def _fold_heads_(made: Turning, site: AttentionSite, recipe: Recipe) -> None:
    size = block_size(site.head_dim, recipe.block)
    query, key = (made.module.get_submodule(name) for name in (site.query, site.key))
    rows = query.weight.detach().unflatten(0, (-1, site.repeats, site.head_dim)).transpose(1, 2)
    both = torch.cat([rows.flatten(0, 1).flatten(1), key.weight.detach()], dim=1)
    blocks = output_blocks(both, size)
    heads = blocks.unflatten(0, (-1, site.head_dim // size)).repeat_interleave(site.repeats, dim=0).flatten(0, 1)
    changed = {}
    for name, layer, own in ((site.query, query, heads), (site.key, key, blocks)):
        changed[f"{name}.weight"] = moved_out(layer.weight.detach(), own)
        if layer.bias is not None:
            changed[f"{name}.bias"] = moved_out(layer.bias.detach(), own)
    apply_(made.module, changed)
    made.rows_done |= {site.query, site.key}


def _left_over(made: Turning, name: str, recipe: Recipe, head_dim: int | None) -> Around:
    """The rotations of a layer that no neighbour took."""
    weight = made.module.get_submodule(name).weight.detach()
    around, size = Around(), block_size(weight.shape[1], recipe.block)
    if name not in made.values and recipe.rotation != "none" and size > 1:
        order = dealt(weight, size, recipe.permute)
        columns = weight if order is None else weight[:, order.long()]
        around = Around(order=order, turn_in=input_blocks(columns, size, recipe.rotation).half())
    # Blocks of queries and keys stay within a head, so that a factor per head commutes with them.
    size = block_size(head_dim or weight.shape[0], recipe.block)
    if recipe.outputs and name not in made.rows_done and size > 1:
        around = around._replace(turn_out=output_blocks(weight, size).half())
    return around
