"""Round to nearest: every row of every layer in scope to the same width, without looking at data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from quantizers.grids import Clip
from quantizers.layout import Role
from quantizers.scope import BackendChoice, check_choices


@dataclass(frozen=True)
class RTN:
    """Symmetric round to nearest, one scale per output channel or per group of inputs.

    The default is W8A8 with a scale per row and per token, as in the RTN baseline of SmoothQuant (arXiv 2211.10438),
    section 5. At 2 bits use `clip="search"`: the absolute maximum leaves three levels, and most weights become zero.
    """

    weight_bits: Literal[2, 3, 4, 8, 16] = 8
    """Width of every weight in scope; 16 rounds to float16."""
    activation_bits: Literal[4, 8] | None = 8
    """4 or 8 quantizes each token by its own maximum and multiplies integers; None leaves activations as they are."""
    group_size: int | None = None
    """Inputs that share a scale, None for the whole row. It must divide the inputs of every layer in scope."""
    clip: Clip = "absmax"
    """How scales are chosen: by the largest weight, or searched for the least squared error."""
    roles: tuple[Role, ...] = ("vision", "language", "dit")
    """Parts of the network in scope."""
    backend: BackendChoice = "auto"
    """`auto` multiplies integers if activations are quantized, by compiled steps if there is a compiler."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.group_size is not None and self.group_size < 1:
            raise ValueError(f"group_size is {self.group_size}; it must be positive, or None for one scale per row")


def plan_rtn(linears: dict[str, nn.Linear], config: RTN) -> dict[str, torch.Tensor]:
    """Layer name -> int64[O], the width of every output channel."""
    return {name: torch.full((layer.out_features,), config.weight_bits) for name, layer in linears.items()}
