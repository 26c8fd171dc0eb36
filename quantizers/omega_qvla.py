"""Omega-QVLA (arXiv 2605.28803, now HoloQ-VLA): rotations that even energy out, and a scale per denoising step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from quantizers.calibration import CalibrationSet
from quantizers.grids import Clip
from quantizers.layout import ModelLayout, Role
from quantizers.plan import Plan
from quantizers.rotated import plan_rotated
from quantizers.rotation import Permutation, Rotation
from quantizers.scope import BackendChoice, GroupChoice, check_choices, check_positive, check_static
from quantizers.turning import Recipe


@dataclass(frozen=True)
class OmegaQVLA:
    """Rotated W4A4 of the language model and the whole diffusion head, with activation scales per denoising step.

    The published setting: inputs are rotated by SVD times Hadamard in blocks of 64; in the diffusion head they are
    dealt to the blocks in the released zigzag first and outputs are rotated too; weights have the best of five scales
    for each 128 columns; the language model is rounded by GPTQ with a damping of 0.05, the diffusion head to nearest.
    Five deviations:

    - A scale per step is one number for the layer, times a factor per input channel that is moved into the weight
      before it is rounded. The published table per step and channel fits no integer product;
      `head_scales="channel", backend="reference"` computes it.
    - Scales of the language model are found per token, where the released code takes those of its first request.
    - GPTQ is the correct one. The released solver treats blocks of 128 columns apart and never eliminates a column.
    - Rotations are folded into neighbours where that is exact (values to output projection, queries to keys); the
      others are run. Where 64 does not divide, blocks are the greatest power of two that does.
    - Steps are told apart by flow time, so that another number of steps takes interpolated scales.
    """

    weight_bits: Literal[2, 3, 4, 8] = 4
    """Width of every weight in scope."""
    activation_bits: Literal[4, 8] | None = 4
    """4 or 8 quantizes activations and multiplies integers; None leaves activations as they are."""
    group_size: GroupChoice = "auto"
    """Inputs that share a scale, None for the whole row, `auto` for 128 or what divides."""
    clip: Clip = "five"
    """How the scales of weights are chosen."""
    rotation: Rotation = "svd_hadamard"
    """How inputs are rotated."""
    block: int = 64
    """Most channels of a block of a rotation."""
    permute: Permutation = "zigzag"
    """How input channels of the diffusion head are dealt to the blocks."""
    rotate_outputs: bool = True
    """Whether outputs in the diffusion head are rotated as well."""
    rounding: Literal["gptq", "nearest"] = "gptq"
    """How weights are rounded outside of the diffusion head."""
    head_rounding: Literal["gptq", "nearest"] = "nearest"
    """How weights of the diffusion head are rounded."""
    damp: float = 0.05
    """Share of the mean diagonal of the second moments added to it before it is inverted."""
    activation_scales: Literal["token", "tensor", "channel"] = "token"
    """Outside of the diffusion head: found for each token, static for all, or static per input channel."""
    head_scales: Literal["step", "tensor", "token", "channel"] = "step"
    """In the diffusion head: static for each denoising step, static for all, found for each token, or static for each
    step and input channel."""
    percentile: float = 99.9
    """Of magnitudes over the calibration set: what static scales reach to."""
    roles: tuple[Role, ...] = ("language", "dit")
    """Parts of the network in scope."""
    backend: BackendChoice = "auto"
    """`auto` multiplies integers if activations are quantized, by compiled steps if there is a compiler."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(self, "group_size", "block", "damp")
        check_static(self, self.activation_scales, self.head_scales)

    def needs_denoiser(self) -> str | None:
        """What only a diffusion head has, and how to do without; None if nothing is asked of one."""
        if self.activation_bits is None or self.head_scales != "step":
            return None
        return ("head_scales=step gives each denoising step of a diffusion head its own scale; head_scales=token "
                "rotates and rounds the language model alone")

    def recipe(self, role: Role) -> Recipe:
        """What is done to the layers of a role."""
        if role == "dit":
            head = (self.permute, self.rotate_outputs, self.head_scales, self.head_rounding)
            return Recipe(self.rotation, self.block, *head)
        return Recipe(self.rotation, self.block, scales=self.activation_scales, rounding=self.rounding)


def plan_omega_qvla(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: OmegaQVLA,
    calibration: CalibrationSet,
) -> Plan:
    """The rotated and rounded copy."""
    return plan_rotated(module, layout, linears, config, calibration)
