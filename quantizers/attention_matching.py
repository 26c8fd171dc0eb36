"""Attention temperature matching and output head balancing of QuantVLA (arXiv 2602.20309), in a diffusion head.

Quantized layers in front of an attention change how far its logits spread, and with that how sharp it is. One factor
per head gives the spread of the full-precision network back (temperature), one per layer the size of what the attention
adds to the residual stream (balance). Both multiply: the factor is what the full-precision network has over what the
quantized one has. They are folded into the rows of the query and output projections, so they cost nothing.

Logits are those that really enter the softmax, behind positions and masks: they are seen where the attention calls
torch's `scaled_dot_product_attention`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from quantizers import flow_time
from quantizers.calibration import CalibrationSet
from quantizers.folds import AttentionSite, ValueFold
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.plan import Rewriting
from quantizers.preserved import LayoutError

MASKED = -1e4
"""A logit whose mask adds less than this takes no part."""


@dataclass(frozen=True)
class Limits:
    """How far a correction may go, as published."""

    temperature: tuple[float, float] = (0.7, 1.4)
    """Smallest and largest factor of a head."""
    temperature_neutral: float = 0.02
    """A factor nearer to 1 than this is 1."""
    log_balance: float = 0.30
    """Largest natural logarithm of a layer's factor, either way."""
    log_balance_neutral: float = 0.03
    """A logarithm nearer to 0 than this is 0."""


@dataclass(frozen=True)
class AttentionPart:
    """An attention whose queries, keys and output are Linears."""

    name: str
    """Dotted name of the module that holds them."""
    site: AttentionSite
    """Its queries and keys."""
    output: str
    """The Linear behind it."""


@dataclass
class Seen:
    """What a network did on the calibration set."""

    spread: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    """Attention -> standard deviations of logits float64[B, heads], one entry a call."""
    size: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    """Attention -> root mean squares of the output float64[B], one entry a call."""
    actions: list[torch.Tensor] = field(default_factory=list)
    """The actions of each batch."""

    def mean_spread(self, name: str) -> torch.Tensor:
        """float64[heads]: over all samples and calls."""
        return torch.cat(self.spread[name]).mean(dim=0)

    def mean_size(self, name: str) -> float:
        """Over all samples and calls."""
        return torch.cat(self.size[name]).mean().item()

    def squared_deviation(self, other: Seen) -> float:
        """Of the actions from those of `other`, summed over a chunk, averaged over samples."""
        errors = [(a - b).double().square().flatten(1).sum(1) for a, b in zip(self.actions, other.actions, strict=True)]
        return torch.cat(errors).mean().item()


def attention_parts(layout: ModelLayout, role: Role) -> tuple[AttentionPart, ...]:
    """The attentions of a role. Raises LayoutError for one whose output projection no value fold names."""
    roles = {site.name: site.role for site in layout.linears}
    parts = []
    for site in layout.attention:
        if roles.get(site.query) == role:
            name = site.query.rpartition(".")[0]
            folds = [fold for fold in layout.folds if isinstance(fold, ValueFold)]
            output = next((fold.consumers[0] for fold in folds if fold.producer.rpartition(".")[0] == name), None)
            if output is None:
                raise LayoutError(f"no ValueFold of the layout names the output projection of the attention {name!r}")
            parts.append(AttentionPart(name, site, output))
    return tuple(parts)


def logit_spread(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> torch.Tensor:
    """float64[B, H]: standard deviation of the logits float[B, H, Q, K] that no mask rules out.

    Queries float[B, H, Q, d] and keys float[B, h, K, d], of which H / h queries share one; a mask is boolean, true for
    what takes part, or added to the logits, of any shape that broadcasts to them.
    """
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1).double()
    logits = query.double() @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    valid = torch.ones_like(logits, dtype=torch.bool)
    if is_causal:
        valid = valid.tril()
    if mask is not None:
        added = mask if mask.dtype == torch.bool else mask > MASKED
        valid = valid & added.expand_as(valid)
        logits = logits if mask.dtype == torch.bool else logits + mask.clamp_min(MASKED)
    count = valid.sum(dim=(2, 3)).clamp_min(1)
    logits = logits.masked_fill(~valid, 0.0)
    mean = logits.sum(dim=(2, 3)) / count
    centred = (logits - mean[..., None, None]).masked_fill(~valid, 0.0)
    return (centred.square().sum(dim=(2, 3)) / count).sqrt()


def temperatures(full: torch.Tensor, rough: torch.Tensor, limits: Limits) -> torch.Tensor:
    """float64[H]: factors of the queries, from the spreads float64[H] in full precision and quantized."""
    factor = (full / (rough + 1e-6)).clamp(*limits.temperature)
    return torch.where((factor - 1).abs() < limits.temperature_neutral, torch.ones_like(factor), factor)


def balance(full: float, rough: float, limits: Limits) -> float:
    """Factor of an output, from its root mean square in full precision and quantized."""
    if not (full > 0 and rough > 0):
        return 1.0
    log = max(-limits.log_balance, min(limits.log_balance, -math.log(rough / full)))
    return 1.0 if abs(log) < limits.log_balance_neutral else math.exp(log)


@torch.no_grad()
def match_(
    rewriting: Rewriting,
    teacher: Seen,
    layout: ModelLayout,
    calibration: CalibrationSet,
    temperature: bool,
    balanced: bool,
    limits: Limits,
) -> dict[str, Any]:
    """Correct the diffusion head of a quantized network towards what `teacher` did; return what was measured.

    Balances are measured with the temperatures in place, so that they do not correct the same thing twice.
    """
    parts = attention_parts(layout, "dit")
    module = rewriting.module
    student = watch(module, layout, parts, calibration)
    found: dict[str, Any] = {"squared_deviation": {"before": student.squared_deviation(teacher)}}
    if temperature:
        found["temperatures"] = {}
        for part in parts:
            factors = temperatures(teacher.mean_spread(part.name), student.mean_spread(part.name), limits)
            rows = factors.repeat_interleave(part.site.head_dim)
            scale_rows_(rewriting, part.site.query, rows)
            found["temperatures"][part.name] = factors.tolist()
        student = watch(module, layout, parts, calibration)
        found["squared_deviation"]["temperatures"] = student.squared_deviation(teacher)
    if balanced:
        found["balances"] = {}
        for part in parts:
            factor = balance(teacher.mean_size(part.name), student.mean_size(part.name), limits)
            output = module.get_submodule(part.output)
            scale_rows_(rewriting, part.output, torch.full((output.out_features,), factor, dtype=torch.float64))
            found["balances"][part.name] = factor
        student = watch(module, layout, parts, calibration)
        found["squared_deviation"]["balances"] = student.squared_deviation(teacher)
    return found


def scale_rows_(rewriting: Rewriting, name: str, factors: torch.Tensor) -> None:
    """Multiply the outputs of a layer by float64[O]; the codes of a packed one stay, its scales take the factors."""
    layer = rewriting.module.get_submodule(name)
    if isinstance(layer, QuantLinear):
        _scale_packed_(layer, factors)
        return
    changed = {f"{name}.weight": layer.weight.double() * factors.unsqueeze(1)}
    if layer.bias is not None:
        changed[f"{name}.bias"] = layer.bias.double() * factors
    rewriting.apply(changed)


def _scale_packed_(layer: QuantLinear, factors: torch.Tensor) -> None:
    if layer.positions is not None or layer.rows16 is not None:
        raise ValueError("rows of several widths take no factors")
    if layer.turn_out is not None:
        blocks = factors.unflatten(0, layer.turn_out.shape[:2])
        if not torch.equal(blocks, blocks[:, :1].expand_as(blocks)):
            raise ValueError("a rotation of the output mixes rows of different factors; its blocks must divide a head")
    layer.scale.copy_(layer.scale.double() * factors.unsqueeze(1))
    if layer.bias is not None:
        layer.bias.copy_(layer.bias.double() * factors)


@torch.no_grad()
def watch(
    module: nn.Module, layout: ModelLayout, parts: Sequence[AttentionPart], calibration: CalibrationSet
) -> Seen:
    """What `module` does on the calibration set.

    Raises LayoutError for an attention that does not call `scaled_dot_product_attention` once.
    """
    seen = Seen()
    with flow_time.following(module, layout.denoiser), _watched(module, parts, seen):
        for batch in calibration.batches:
            seen.actions.append(layout.forward(module, batch).clone())
    for part in parts:
        calls = len(seen.spread.get(part.name, ())), len(seen.size.get(part.name, ()))
        if calls[0] != calls[1] or not calls[0]:
            raise LayoutError(f"the attention {part.name!r} was called {calls[1]} times and scaled_dot_product_"
                              f"attention in it {calls[0]} times; matching needs one call each")
    return seen


class _Logits(TorchFunctionMode):
    """Hands the arguments of `scaled_dot_product_attention` to `visit` while it is entered."""

    def __init__(self, visit: Callable[..., None]) -> None:
        super().__init__()
        self._visit = visit

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self._visit(*args, **kwargs)
        return func(*args, **kwargs)


@contextmanager
def _watched(module: nn.Module, parts: Sequence[AttentionPart], seen: Seen) -> Iterator[None]:
    inside: list[str] = []

    def visit(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False) -> None:
        if inside:
            spread = logit_spread(query, key, attn_mask, scale, is_causal)
            seen.spread.setdefault(inside[-1], []).append(spread)

    def size(name: str) -> Callable[..., None]:
        def hook(_layer, _args, output: torch.Tensor) -> None:
            mean = output.double().flatten(1).square().mean(dim=1)
            seen.size.setdefault(name, []).append(mean.sqrt())

        return hook

    with ExitStack() as open_things:
        open_things.enter_context(_Logits(visit))
        for part in parts:
            owner = module.get_submodule(part.name)
            enter = owner.register_forward_pre_hook(lambda *_, name=part.name: inside.append(name))
            leave = owner.register_forward_hook(lambda *_: inside.pop() and None, always_call=True)
            output = module.get_submodule(part.output).register_forward_hook(size(part.name))
            for handle in (enter, leave, output):
                open_things.callback(handle.remove)
        yield
