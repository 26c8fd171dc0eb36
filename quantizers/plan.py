"""What a method hands to `quantizers.quantize`: widths, and where it rewrites more than that, how to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from quantizers.folds import apply_


class Rewriting:
    """A network whose layers are replaced one by one. Each is let go of before the next is made, so that what is packed
    already and what is not yet take less memory together than the network did."""

    def __init__(self, module: nn.Module, *tables: dict[str, nn.Module]) -> None:
        """`module` is rewritten in place; `tables` have its layers by name, and lose their hold of the old ones too."""
        self.module, self._tables = module, tables
        self.replaced: dict[str, nn.Module] = {}
        self._changed: set[str] = set()

    def put(self, name: str, layer: nn.Module) -> None:
        """Let `layer` take the place of the layer of this name."""
        replace_(self.module, name, layer)
        self.replaced[name] = layer
        for table in self._tables:
            if name in table:
                table[name] = layer

    @torch.no_grad()
    def apply(self, changed: Mapping[str, torch.Tensor]) -> None:
        """Give parameters new values, in their own types."""
        for name, value in changed.items():
            before = self.module.get_parameter(name)
            apply_(self.module, {name: value})
            if not torch.equal(before, self.module.get_parameter(name)):
                self._changed.add(name)

    def adopt(self, copy: nn.Module) -> None:
        """Take over the parameters that a sharing copy has to itself; it shares all with the network then."""
        for name, value in copy.named_parameters():
            if value is not self.module.get_parameter(name):
                self.apply({name: value})
                owner, _, attribute = name.rpartition(".")
                copy.get_submodule(owner).register_parameter(attribute, self.module.get_parameter(name))

    def moved(self) -> tuple[str, ...]:
        """Parameters that `apply` changed and that no replaced layer has, in the order of the network."""
        return tuple(name for name, _ in self.module.named_parameters()
                     if name in self._changed and name.rpartition(".")[0] not in self.replaced)


Rewrite = Callable[[Rewriting], dict[str, Any]]
"""Rewrites a network, and returns what the method measured about itself meanwhile."""


@dataclass(frozen=True)
class Plan:
    """What a method wants done."""

    bits: dict[str, torch.Tensor]
    """Layer name -> int64[O], the width of every output channel."""
    group_size: int | None = None
    """Inputs that share a scale, None for whole rows; only looked at without `rewrite`."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """What the method measured about itself."""
    notes: dict[str, str | None] = field(default_factory=dict)
    """Layer name -> what is remarkable about it, for the audit."""
    rewrite: Rewrite | None = None
    """Makes a `QuantLinear` of every layer in scope, and may move scales into other layers. What could be refused was
    tried before. None if rounding the weights as they are is all there is to do."""


def uniform_bits(linears: Mapping[str, nn.Linear], bits: int) -> dict[str, torch.Tensor]:
    """Layer name -> int64[O]: every channel at `bits` bits."""
    return {name: torch.full((layer.out_features,), bits) for name, layer in linears.items()}


def replace_(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place of the submodule of this name."""
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, layer)
