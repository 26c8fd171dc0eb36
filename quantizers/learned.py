"""The learned parts of one block for OmniQuant, and their training through the rounding.

Rounding has no useful gradient; `rounded` passes the gradient on as if it were not there, so a scale still learns from
the rounding error that it multiplies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from quantizers.blocks import Call, first_output, watched, within
from quantizers.folds import LinearFold, float_tensors, folded, takes_shift
from quantizers.grids import Grid, code_range, minmax_grid
from quantizers.integer import ACTIVATION_LIMITS
from quantizers.layout import ModelLayout
from quantizers.smoothquant import smoothing_scale

START_LOGIT = 4.0
"""Clip logits start where the sigmoid is 0.982, as published."""
SMALLEST_SCALE = 1e-2
"""Floor of a learned scale after each step, as published."""
LARGE = 1 << 19
"""Weights of more numbers are rounded again when gradients come to them, instead of holding every step of it."""


class Settings(Protocol):
    """The fields of a config that training needs."""

    weight_bits: int
    activation_bits: int | None
    epochs: int
    clip_rate: float
    scale_rate: float
    alpha: float


def rounded(x: torch.Tensor) -> torch.Tensor:
    """`x` rounded, with the gradient of `x`."""
    return x + (x.round() - x).detach()


def lwc_grid(
    grouped: torch.Tensor, upper: torch.Tensor, lower: torch.Tensor, bits: int, half_scales: bool = True
) -> Grid:
    """The grid of float32[O, G, N] whose range is cut by the sigmoids of two logits float32[O, G, 1] each;
    `half_scales` as for `quantizers.grids.fit_grid`, with the gradient of scales that are not rounded."""
    highest = grouped.amax(dim=2, keepdim=True).clamp_min(0.0) * upper.sigmoid()
    lowest = grouped.amin(dim=2, keepdim=True).clamp_max(0.0) * lower.sigmoid()
    return minmax_grid(lowest, highest, bits, half_scales)


def on_grid(grouped: torch.Tensor, grid: Grid, bits: int) -> torch.Tensor:
    """What float32[O, G, N] becomes on `grid`, differentiable; the zero point counts as a constant."""
    zero = grid.zero.detach()
    codes = (rounded(grouped / grid.scale) + zero).clamp(*code_range(bits))
    return (codes - zero) * grid.scale


def clipped(
    weight: torch.Tensor, upper: torch.Tensor, lower: torch.Tensor, bits: int, group: int | None
) -> torch.Tensor:
    """What a weight float32[O, I] becomes on the grid of `lwc_grid` of groups of inputs, differentiable."""
    grouped = weight.reshape(len(weight), -1, group or weight.shape[1])
    return on_grid(grouped, lwc_grid(grouped, upper, lower, bits), bits).reshape(weight.shape)


def rounded_tokens(x: torch.Tensor, bits: int) -> torch.Tensor:
    """float[..., I] quantized per token as the layers do, differentiable."""
    scale = x.abs().amax(dim=-1, keepdim=True) / ACTIVATION_LIMITS[bits]
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return rounded(x / scale) * scale


class LearnedBlock(nn.Module):
    """One block of a network with what is learned about it."""

    def __init__(
        self,
        module: nn.Module,
        layout: ModelLayout,
        block: str,
        groups: Mapping[str, int | None],
        calls: list[Call],
        settings: Settings,
    ) -> None:
        """`groups` maps the layers in scope to their group size; `calls` are full-precision inputs of the block."""
        super().__init__()
        self._block, self._name, self._groups, self._settings = (module.get_submodule(block),), block, groups, settings
        moves = settings.activation_bits is not None and bool(calls)
        self.folds = [
            fold
            for fold in layout.folds
            if moves
            and not isinstance(fold, LinearFold)
            and all(within(name, block) for name in (fold.producer, *fold.consumers))
            and any(name in groups for name in fold.consumers)
        ]
        self.sites = [
            site
            for site in layout.attention
            if moves and all(within(name, block) and name in groups for name in (site.query, site.key))
        ]
        owners = dict.fromkeys(
            [*groups, *(name for fold in self.folds for name in (fold.producer, *fold.consumers)),
             *(name for site in self.sites for name in (site.query, site.key))]
        )  # fmt: skip
        self._tensors = float_tensors(module, *owners)
        self.changed = frozenset(self._tensors) - {f"{name}.weight" for name in groups}
        self.clips = nn.ParameterList(self._clip(name, side) for name in groups for side in (0, 1))
        peaks, middles = self._ranges(calls)
        self.scales = nn.ParameterList(self._start(fold, peaks) for fold in self.folds)
        self.shifts = nn.ParameterDict({
            str(i): fold.reduce(middles[fold.consumers[0]])
            for i, fold in enumerate(self.folds) if takes_shift(self._tensors, fold)
        })  # fmt: skip
        keys = [len(self._tensors[f"{site.key}.weight"]) for site in self.sites]
        free = [site.free_channels(count) for site, count in zip(self.sites, keys, strict=True)]
        self.pairs = nn.ParameterList(torch.ones(count) for count in free)

    def logits(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Upper and lower clip logits of a layer, float32[O, G, 1]."""
        index = 2 * list(self._groups).index(name)
        return self.clips[index].detach(), self.clips[index + 1].detach()

    def moved(self) -> dict[str, torch.Tensor]:
        """The tensors of the block by full name, with scales and shifts folded in, not rounded."""
        tensors = dict(self._tensors)
        for i, fold in enumerate(self.folds):
            shift = self.shifts[str(i)] if str(i) in self.shifts else None
            tensors |= folded(tensors, fold, self.scales[i], shift)
        for site, pair in zip(self.sites, self.pairs, strict=True):
            tensors |= site.moved(tensors, pair)
        return tensors

    def forward(self, call: Call) -> torch.Tensor:
        """What the block answers to `call` with everything rounded."""
        tensors, bits = self.moved(), self._settings.weight_bits
        for i, (name, group) in enumerate(self._groups.items()):
            weight, clips = tensors[f"{name}.weight"], (self.clips[2 * i], self.clips[2 * i + 1])
            if weight.numel() > LARGE:
                tensors[f"{name}.weight"] = checkpoint(clipped, weight, *clips, bits, group, use_reentrant=False)
            else:
                tensors[f"{name}.weight"] = clipped(weight, *clips, bits, group)
        own = {f"{self._name}.{name}": parameter.dtype for name, parameter in self._block[0].named_parameters()}
        inner = {name.removeprefix(f"{self._name}."): tensor.to(own[name]) for name, tensor in tensors.items()}
        with self._rounded_inputs():
            return first_output(functional_call(self._block[0], inner, call.args, dict(call.kwargs)))

    @torch.no_grad()
    def keep_legal_(self) -> None:
        """After a step: no scale below its floor."""
        for scale in (*self.scales, *self.pairs):
            scale.clamp_min_(SMALLEST_SCALE)

    @contextmanager
    def _rounded_inputs(self) -> Iterator[None]:
        bits = self._settings.activation_bits
        handles = []
        if bits is not None:
            for name in self._groups:
                layer = self._block[0].get_submodule(name.removeprefix(self._name).removeprefix("."))
                handles.append(layer.register_forward_pre_hook(lambda _, args: (rounded_tokens(args[0], bits),)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _clip(self, name: str, side: int) -> torch.Tensor:
        weight, group = self._tensors[f"{name}.weight"], self._groups[name]
        return torch.full((len(weight), weight.shape[1] // (group or weight.shape[1]), 1), START_LOGIT)

    def _ranges(self, calls: list[Call]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """First consumer of each fold -> largest magnitude, and middle of the range, of each of its inputs."""
        lowest: dict[str, torch.Tensor] = {}
        highest: dict[str, torch.Tensor] = {}

        def visit(name: str, x: torch.Tensor) -> None:
            lowest[name] = torch.minimum(lowest.get(name, x[0]), x.amin(dim=0))
            highest[name] = torch.maximum(highest.get(name, x[0]), x.amax(dim=0))

        names = [fold.consumers[0].removeprefix(f"{self._name}.") for fold in self.folds]
        with watched(self._block[0], names, visit), torch.no_grad():
            for call in calls if names else ():
                call.on(self._block[0])
        prefix = {name: f"{self._name}.{name}" for name in lowest}
        peaks = {prefix[name]: torch.maximum(highest[name].abs(), lowest[name].abs()) for name in lowest}
        return peaks, {prefix[name]: (highest[name] + lowest[name]) / 2 for name in lowest}

    def _start(self, fold, peaks: Mapping[str, torch.Tensor]) -> torch.Tensor:
        weights = [self._tensors[f"{name}.weight"] for name in fold.consumers]
        scale = smoothing_scale(peaks[fold.consumers[0]], weights, self._settings.alpha)
        return fold.reduce(scale).clamp_min(SMALLEST_SCALE)


def best_of_training(
    learned: LearnedBlock, answers: list[torch.Tensor], rough: list[Call], settings: Settings
) -> dict[str, float | None]:
    """Fit `learned` on `rough` inputs to these answers; leave it at the best epoch.

    Returns the loss at the start and the least; None for both if the block is never called.
    """
    if not answers:
        return {"start": None, "least": None}
    pairs = list(zip(rough, answers, strict=True))
    groups = [{"params": list(learned.clips), "lr": settings.clip_rate}]
    others = [*learned.scales, *learned.shifts.values(), *learned.pairs]
    if others:
        groups.append({"params": others, "lr": settings.scale_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    start = least = _loss(learned, pairs)
    best = {name: value.clone() for name, value in learned.state_dict().items()}
    for _ in range(settings.epochs):
        for call, answer in pairs:
            optimizer.zero_grad()
            (learned(call) - answer).float().square().mean().backward()
            optimizer.step()
            learned.keep_legal_()
        loss = _loss(learned, pairs)
        if loss < least:
            least, best = loss, {name: value.clone() for name, value in learned.state_dict().items()}
    learned.load_state_dict(best)
    return {"start": start, "least": least}


@torch.no_grad()
def _loss(learned: LearnedBlock, pairs: list[tuple[Call, torch.Tensor]]) -> float:
    return sum((learned(call) - answer).double().square().mean().item() for call, answer in pairs) / len(pairs)
