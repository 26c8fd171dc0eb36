"""What a quantizer must know of an architecture, declared once by the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from quantizers.folds import AttentionSite, Fold

Role = Literal["vision", "projector", "language", "action_head", "lm_head", "dit"]
"""The part of the network that a Linear belongs to; methods choose their scope by role. `dit` is the attention and the
MLPs in the blocks of a diffusion transformer; what stands around or modulates the blocks is `action_head`."""


@dataclass(frozen=True)
class LinearSite:
    """One `torch.nn.Linear` of the policy's module."""

    name: str
    """Dotted name inside the module."""
    role: Role
    """The part of the network it belongs to."""


@dataclass(frozen=True)
class ModelLayout:
    """The Linears of a module with their roles, how they hang together, and how to run it on a calibration batch."""

    linears: tuple[LinearSite, ...]
    """Every Linear of the module, in forward order."""
    forward: Callable[[torch.nn.Module, Mapping[str, torch.Tensor]], torch.Tensor]
    """`(module, batch) -> float32[B, H, A]`, the actions, differentiable with respect to every layer output."""
    folds: tuple[Fold, ...] = ()
    """Where scales can move. A Linear consumes in at most one fold."""
    attention: tuple[AttentionSite, ...] = ()
    """The attentions whose queries and keys are Linears of their own."""
    blocks: tuple[str, ...] = ()
    """Dotted names of the repeated blocks, in forward order; methods that work block by block take these. A Linear
    outside of them is a block of its own."""
    denoiser: str | None = None
    """Dotted name of the module that is called once per denoising step, with the flow time float[B] from 0, noise, to
    1, actions, as its second argument; None for a policy that does not denoise."""
