"""QuantVLA (arXiv 2602.20309): a selective layout, rotated layers, and two corrections of the attention that stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import nn

from quantizers.attention_matching import Limits, attention_parts, match_, watch
from quantizers.calibration import CalibrationSet
from quantizers.grids import Clip
from quantizers.layout import ModelLayout, Role
from quantizers.plan import Plan, Rewriting
from quantizers.rotated import plan_rotated
from quantizers.rotation import Permutation, Rotation
from quantizers.scope import BackendChoice, GroupChoice, check_choices, check_positive, check_static
from quantizers.turning import Recipe


@dataclass(frozen=True)
class QuantVLA:
    """Rotated W4A8 of the language model and the MLPs of the diffusion head, whose attention is matched, not quantized.

    The published setting: vision, embeddings and the attention of the diffusion head stay; inputs are rotated by SVD in
    blocks of 64 and outputs too, without a permutation; one scale per row, the best of five; attention temperatures
    within 0.7 .. 1.4 and output balances within exp(-0.3 .. 0.3). Five deviations:

    - Scales of activations are found per token. The published static ones, per input channel, fit no integer product;
      `activation_scales="channel", backend="reference"` computes them.
    - Static scales are quantiles over the whole calibration set. The released code keeps those of its first request.
    - Rotations are folded into neighbours where that is exact (values to output projection, queries to keys).
    - Where 64 does not divide, blocks are the greatest power of two that does.
    - Balances are measured with the temperatures in place.
    """

    weight_bits: Literal[2, 3, 4, 8] = 4
    """Width of every weight in scope."""
    activation_bits: Literal[4, 8] | None = 8
    """4 or 8 quantizes activations and multiplies integers; None leaves activations as they are."""
    group_size: GroupChoice = None
    """Inputs that share a scale, None for the whole row, `auto` for 128 or what divides."""
    clip: Clip = "five"
    """How the scales of weights are chosen."""
    rotation: Rotation = "svd"
    """How inputs are rotated."""
    block: int = 64
    """Most channels of a block of a rotation."""
    permute: Permutation = "none"
    """How channels are dealt to the blocks."""
    rotate_outputs: bool = True
    """Whether outputs are rotated as well."""
    activation_scales: Literal["token", "tensor", "channel"] = "token"
    """Found for each token, static for all with a factor per channel moved into the weight before it is rounded, or
    static per input channel, which needs `backend="reference"`."""
    percentile: float = 99.9
    """Of magnitudes over the calibration set: what static scales reach to."""
    temperature: bool = True
    """Whether attention temperatures of the diffusion head are matched."""
    balance: bool = True
    """Whether outputs of its attention are balanced."""
    attention: bool = False
    """Whether its attention is quantized as well."""
    roles: tuple[Role, ...] = ("language", "dit")
    """Parts of the network in scope."""
    backend: BackendChoice = "auto"
    """`auto` multiplies integers if activations are quantized, by compiled steps if there is a compiler."""
    damp: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(self, "group_size", "block")
        check_static(self, self.activation_scales)

    def needs_denoiser(self) -> str | None:
        """What only a diffusion head has, and how to do without; None if nothing is asked of one."""
        asked = [name for name in ("temperature", "balance") if getattr(self, name)]
        if not asked:
            return None
        what = {"temperature": "attention temperature matching", "balance": "output head balancing"}
        return (f"{' and '.join(map(what.get, asked))} correct the attention of a diffusion head; "
                f"{','.join(f'{name}=false' for name in asked)} rotates and rounds the language model alone")

    def recipe(self, role: Role) -> Recipe:
        """What is done to the layers of a role."""
        return Recipe(self.rotation, self.block, self.permute, self.rotate_outputs, self.activation_scales)

    def kept(self, layout: ModelLayout) -> Mapping[str, str]:
        """Linear in scope -> why it is left alone all the same."""
        if self.attention:
            return {}
        inside = tuple(f"{part.name}." for part in attention_parts(layout, "dit"))
        reason = "the selective layout keeps the attention of the diffusion head"
        return {site.name: reason for site in layout.linears if inside and site.name.startswith(inside)}


def plan_quantvla(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: QuantVLA,
    calibration: CalibrationSet,
) -> Plan:
    """How to rotate, round and correct; rewriting tells the corrections."""
    plan = plan_rotated(module, layout, linears, config, calibration)
    if not (config.temperature or config.balance):
        return plan
    parts = attention_parts(layout, "dit")
    teacher = watch(module, layout, parts, calibration)

    def rewrite(rewriting: Rewriting) -> dict[str, Any]:
        found = plan.rewrite(rewriting)
        return found | match_(rewriting, teacher, layout, calibration, config.temperature, config.balance, Limits())

    return replace(plan, rewrite=rewrite)
