"""What a method hands to `quantizers.quantize`: widths, and where it moved things, a rewritten copy of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Plan:
    """What a method wants done."""

    bits: dict[str, torch.Tensor]
    """Layer name -> int64[O], the width of every output channel."""
    group_size: int | None = None
    """Inputs that share a scale, None for whole rows; only looked at without a `module`."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """What the method measured about itself."""
    notes: dict[str, str | None] = field(default_factory=dict)
    """Layer name -> what is remarkable about it, for the audit."""
    module: nn.Module | None = None
    """A copy of the network in which every layer in scope is a `QuantLinear` and scales may have moved into other
    layers. None if rounding the weights as they are is all there is to do."""


def uniform_bits(linears: Mapping[str, nn.Linear], bits: int) -> dict[str, torch.Tensor]:
    """Layer name -> int64[O]: every channel at `bits` bits."""
    return {name: torch.full((layer.out_features,), bits) for name, layer in linears.items()}


def replace_(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place of the submodule of this name."""
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, layer)


@torch.no_grad()
def adopt_(module: nn.Module, source: nn.Module, replaced: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Copy what differs from `source` into the parameters of `module` outside of `replaced`; return their names."""
    theirs = dict(source.named_parameters())
    changed = []
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[0] not in replaced and not torch.equal(parameter, theirs[name]):
            parameter.copy_(theirs[name])
            changed.append(name)
    return tuple(changed)
