"""Where a positive scale per channel can move through a network without changing what it computes.

A fold divides what one module gives out by a scale and multiplies the weight columns of its consumers with it. Methods
use this to move outliers from activations, where they cost accuracy, into weights. A policy declares its folds in the
layout; `quantizers.preserved` proves them on a real batch. A shift d may move as well wherever the producer's output
reaches the consumers by weights that sum to one: x becomes (x - d) / s, and each consumer's bias grows by W d.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

Tensors = Mapping[str, torch.Tensor]
"""The parameters of a module by dotted name."""


@dataclass(frozen=True)
class NormFold:
    """A normalization whose output is read by these Linears and nothing else."""

    producer: str
    """Dotted name of the norm, with a `weight` and perhaps a `bias` per channel."""
    consumers: tuple[str, ...]
    """Linears that read it."""
    unit_offset: bool = False
    """True for norms that multiply by `1 + weight`, as Gemma's."""

    def expand(self, channels: torch.Tensor) -> torch.Tensor:
        """float[I] for the columns of the consumers of float[P] for the channels of the producer."""
        return channels

    def reduce(self, columns: torch.Tensor) -> torch.Tensor:
        """float[P] of float[I]: the greatest over the columns that one channel of the producer feeds."""
        return columns

    def divided(self, tensors: Tensors, scale: torch.Tensor, shift: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """The producer's tensors after its output x became (x - shift) / scale."""
        weight, offset = tensors[f"{self.producer}.weight"], float(self.unit_offset)
        changed = {f"{self.producer}.weight": (weight + offset) / scale - offset}
        return changed | _divided_bias(tensors, self.producer, scale, shift)


@dataclass(frozen=True)
class LinearFold:
    """A Linear whose output reaches the consumers channel by channel, at most through a product or ReLU."""

    producer: str
    """Dotted name of the Linear, such as the `up` of a gated MLP."""
    consumers: tuple[str, ...]
    """Linears that read it."""

    def expand(self, channels: torch.Tensor) -> torch.Tensor:
        """As `NormFold.expand`."""
        return channels

    def reduce(self, columns: torch.Tensor) -> torch.Tensor:
        """As `NormFold.reduce`."""
        return columns

    def divided(self, tensors: Tensors, scale: torch.Tensor, shift: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """As `NormFold.divided`. Raises ValueError for a shift, which gates and ReLU do not let through."""
        if shift is not None:
            raise ValueError(f"a shift cannot move through the elementwise product behind {self.producer!r}")
        return _divided_rows(tensors, self.producer, scale, None)


@dataclass(frozen=True)
class ValueFold:
    """The values of an attention, which reach the consumer as averages; query heads may share a value head."""

    producer: str
    """Dotted name of the Linear that makes the values."""
    consumers: tuple[str, ...]
    """The Linear that reads the attention's output."""
    head_dim: int
    """Channels of one head."""
    repeats: int = 1
    """Query heads that read one value head; their columns share its scale."""

    def expand(self, channels: torch.Tensor) -> torch.Tensor:
        """As `NormFold.expand`; head h of the consumer's columns belongs to value head h // repeats."""
        return channels.unflatten(0, (-1, self.head_dim)).repeat_interleave(self.repeats, dim=0).flatten()

    def reduce(self, columns: torch.Tensor) -> torch.Tensor:
        """As `NormFold.reduce`."""
        return columns.unflatten(0, (-1, self.repeats, self.head_dim)).amax(dim=1).flatten()

    def divided(self, tensors: Tensors, scale: torch.Tensor, shift: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """As `NormFold.divided`."""
        return _divided_rows(tensors, self.producer, scale, shift)


@dataclass(frozen=True)
class ModulationFold:
    """A normalization without weights of its own, modulated as `norm(x) * (1 + a) + b` with [a, b] from a Linear."""

    producer: str
    """Dotted name of the Linear that gives a and b, with a bias."""
    consumers: tuple[str, ...]
    """Linears that read the modulated norm, and nothing else does."""
    width: int
    """Channels of the norm."""
    scale_row: int
    """First row of the producer that gives a."""
    shift_row: int | None = None
    """First row of the producer that gives b; None if nothing is added."""

    def expand(self, channels: torch.Tensor) -> torch.Tensor:
        """As `NormFold.expand`."""
        return channels

    def reduce(self, columns: torch.Tensor) -> torch.Tensor:
        """As `NormFold.reduce`."""
        return columns

    def divided(self, tensors: Tensors, scale: torch.Tensor, shift: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """As `NormFold.divided`. Raises ValueError for a shift if the modulation adds nothing."""
        weight, bias = tensors[f"{self.producer}.weight"], tensors[f"{self.producer}.bias"]
        divisor, added = torch.ones_like(bias), torch.zeros_like(bias)
        rows = slice(self.scale_row, self.scale_row + self.width)
        divisor, added = _put(divisor, rows, scale), _put(added, rows, 1 - scale)
        if self.shift_row is not None:
            rows = slice(self.shift_row, self.shift_row + self.width)
            divisor = _put(divisor, rows, scale)
            added = added if shift is None else _put(added, rows, -shift)
        elif shift is not None:
            raise ValueError(f"a shift cannot move into {self.producer!r}, which only multiplies")
        # (1 + a) / s - 1 = (a + 1 - s) / s, so all rows have one form.
        names = (f"{self.producer}.weight", f"{self.producer}.bias")
        return dict(zip(names, (weight / divisor.unsqueeze(1), (bias + added) / divisor), strict=True))


Fold = NormFold | LinearFold | ValueFold | ModulationFold


@dataclass(frozen=True)
class AttentionSite:
    """Queries and keys of an attention: a scale may move from one to the other."""

    query: str
    """Dotted name of the Linear that makes the queries."""
    key: str
    """Dotted name of the Linear that makes the keys."""
    head_dim: int
    """Channels of one head."""
    repeats: int = 1
    """Query heads that read one key head."""
    rotary: Literal["none", "halves", "pairs"] = "none"
    """How positions rotate channels: `halves` pairs channel i of a head with i + head_dim / 2, `pairs` 2i with 2i + 1.
    Channels of a pair must share a scale, or the rotation would not commute with it."""

    def expand(self, free: torch.Tensor) -> torch.Tensor:
        """float[key channels] of float[P], one number per key channel that may differ from the others."""
        if self.rotary == "none":
            return free
        heads = free.unflatten(0, (-1, self.head_dim // 2))
        if self.rotary == "halves":
            return torch.cat([heads, heads], dim=1).flatten()
        return heads.repeat_interleave(2, dim=1).flatten()

    def free_channels(self, keys: int) -> int:
        """How many numbers `expand` takes for `keys` key channels."""
        return keys if self.rotary == "none" else keys // 2

    def moved(self, tensors: Tensors, free: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tensors after keys were multiplied by the scale float[P] and queries divided by it; `tensors` may have
        those of one of the two alone."""
        keys = self.expand(free)
        queries = keys.unflatten(0, (-1, self.head_dim)).repeat_interleave(self.repeats, dim=0).flatten()
        divisors = {self.key: 1 / keys, self.query: queries}
        changed: dict[str, torch.Tensor] = {}
        for name in (name for name in divisors if f"{name}.weight" in tensors):
            changed |= _divided_rows(tensors, name, divisors[name], None)
        return changed


def folded(
    tensors: Tensors, fold: Fold, scale: torch.Tensor, shift: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """The tensors that change when `scale` (and `shift`), float[P] each, move through `fold`; differentiable.

    Raises ValueError for a shift where the producer or a consumer has no bias to take it.
    """
    changed = fold.divided(tensors, scale, shift)
    columns, shifts = fold.expand(scale), None if shift is None else fold.expand(shift)
    for name in fold.consumers:
        changed |= _consumed(tensors, name, columns, shifts)
    return changed


def folded_owner(tensors: Tensors, fold: Fold, owner: str, scale: torch.Tensor) -> dict[str, torch.Tensor]:
    """What `folded` says of the producer or one consumer; `tensors` need not have more than its own."""
    if owner == fold.producer:
        return fold.divided(tensors, scale, None)
    return _consumed(tensors, owner, fold.expand(scale), None)


def takes_shift(tensors: Tensors, fold: Fold) -> bool:
    """Whether a shift can move through `fold`."""
    if isinstance(fold, LinearFold) or (isinstance(fold, ModulationFold) and fold.shift_row is None):
        return False
    return all(f"{name}.bias" in tensors for name in (fold.producer, *fold.consumers))


@torch.no_grad()
def apply_(module: torch.nn.Module, changed: Tensors) -> None:
    """Put parameters with new values, in their own types, in the place of those of `module`.

    The old ones stay as they are, for they may be those of another network too (`quantizers.sharing`).
    """
    # A weight that two modules share goes by both names; what that does to the function is for the check to find.
    owners: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, value in changed.items():
        old = parameters[name]
        new = torch.nn.Parameter(torch.empty_like(old).copy_(value), old.requires_grad)
        owners[id(new)] = owners.pop(id(old))
        for other in owners[id(new)]:
            parent, _, attribute = other.rpartition(".")
            module.get_submodule(parent).register_parameter(attribute, new)
            parameters[other] = new


def float_tensors(module: torch.nn.Module, *owners: str) -> dict[str, torch.Tensor]:
    """The parameters of the named submodules in float32, detached, by their names in `module`."""
    return {
        f"{owner}.{name}": parameter.detach().float()
        for owner in owners
        for name, parameter in module.get_submodule(owner).named_parameters(recurse=False)
    }


def fold_(module: torch.nn.Module, fold: Fold, scale: torch.Tensor, shift: torch.Tensor | None = None) -> None:
    """Move `scale` (and `shift`), float[P] each, through `fold` in `module`, in float32."""
    apply_(module, folded(float_tensors(module, fold.producer, *fold.consumers), fold, scale, shift))


def _consumed(
    tensors: Tensors, name: str, columns: torch.Tensor, shifts: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    weight = tensors[f"{name}.weight"]
    changed = {f"{name}.weight": weight * columns}
    if shifts is not None:
        if f"{name}.bias" not in tensors:
            raise ValueError(f"a shift cannot move into {name!r}, which has no bias")
        changed[f"{name}.bias"] = tensors[f"{name}.bias"] + weight @ shifts
    return changed


def _divided_rows(
    tensors: Tensors, owner: str, scale: torch.Tensor, shift: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    weight = {f"{owner}.weight": tensors[f"{owner}.weight"] / scale.unsqueeze(1)}
    return weight | _divided_bias(tensors, owner, scale, shift)


def _divided_bias(
    tensors: Tensors, owner: str, scale: torch.Tensor, shift: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    name = f"{owner}.bias"
    if name not in tensors:
        if shift is not None:
            raise ValueError(f"a shift cannot move into {owner!r}, which has no bias")
        return {}
    return {name: (tensors[name] if shift is None else tensors[name] - shift) / scale}


def _put(vector: torch.Tensor, rows: slice, values: torch.Tensor) -> torch.Tensor:
    return torch.cat([vector[: rows.start], values, vector[rows.stop :]])
