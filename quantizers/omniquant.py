"""OmniQuant (Shao et al. 2023, arXiv 2308.13137): learn where to clip weights and what to move out of activations.

Block by block, gradient descent through the rounding fits the block of the quantized network, on its own inputs, to
the block of the full-precision one on its inputs. Learnable weight clipping (LWC) has two logits per row or group;
learnable equivalent transformation (LET) has a scale, and where biases allow a shift, per channel of each norm and of
the values, and a scale between queries and keys. LET is folded away at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from quantizers.blocks import Call, chain, check_inputs, frozen, record_calls, stages
from quantizers.calibration import CalibrationSet
from quantizers.grids import coded, grouped_rows
from quantizers.layout import ModelLayout, Role
from quantizers.learned import LearnedBlock, best_of_training, lwc_grid
from quantizers.linear import QuantLinear
from quantizers.plan import Plan, Rewriting, uniform_bits
from quantizers.preserved import check_folds
from quantizers.scope import (
    BackendChoice,
    GroupChoice,
    check_choices,
    check_groups,
    check_positive,
    group_of,
    resolve_backend,
)


@dataclass(frozen=True)
class OmniQuant:
    """Learned clipping and learned smoothing: W4A4 with a scale and a zero point per row.

    The published setting and recipe (20 epochs, AdamW, rates 1e-2 and 5e-3, LET only with quantized activations, no
    shift without biases, nothing in front of the second Linear of an MLP), with four deviations: scales of a rotary
    pair are tied, without which the published query-key scale changes what Llama computes; heads that share keys or
    values share scales; activations are symmetric per token, as for every method here; and the products inside
    attention stay in floating point. Several calibration samples make a step.
    """

    weight_bits: Literal[2, 3, 4, 8] = 4
    """Width of every weight in scope."""
    activation_bits: Literal[4, 8] | None = 4
    """4 or 8 quantizes each token by its own maximum and multiplies integers; None leaves activations as they are."""
    group_size: GroupChoice = None
    """Inputs that share a scale, None for the whole row, `auto` for 128 or what divides."""
    epochs: int = 20
    """Passes over the calibration set per block; 0 keeps the starting point."""
    batch_size: int = 4
    """Samples of a step."""
    clip_rate: float = 1e-2
    """Learning rate of the clip logits."""
    scale_rate: float = 5e-3
    """Learning rate of scales and shifts."""
    alpha: float = 0.5
    """Exponent of SmoothQuant, which scales start from."""
    roles: tuple[Role, ...] = ("vision", "language", "dit")
    """Parts of the network in scope."""
    backend: BackendChoice = "auto"
    """`auto` multiplies integers if activations are quantized, by compiled steps if there is a compiler."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(self, "group_size", "batch_size", "clip_rate", "scale_rate")
        if self.epochs < 0:
            raise ValueError(f"epochs is {self.epochs}; it must be at least 0")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; it must lie in 0 .. 1")


def plan_omniquant(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: OmniQuant,
    calibration: CalibrationSet,
) -> Plan:
    """How to fit; rewriting tells per block the loss at the start and the least. Raises LayoutError as others do."""
    check_groups(linears, config.group_size)
    check_folds(module, layout, calibration)
    check_inputs(module, layout, linears, calibration)
    blocks = stages(layout, list(linears))
    chained = chain(module, layout, list(blocks), calibration, config.batch_size)

    def rewrite(rewriting: Rewriting) -> dict[str, Any]:
        losses = {}
        with frozen(rewriting.module):
            # What full precision feeds a block is what the block before answered to the same, or is recorded while all
            # of the network is in full precision.
            known = {block: record_calls(rewriting.module, layout, block, calibration, config.batch_size)
                     for block in blocks if block not in chained}
            calls: list[Call] = []
            answers: list[torch.Tensor] = []
            for block, names in blocks.items():
                calls = known.pop(block) if block in known else [
                    Call((answer, *call.args[1:]), call.kwargs) for call, answer in zip(calls, answers, strict=True)]
                losses[block], answers = _fit_(rewriting, layout, block, names, calls, config, calibration)
        return {"block_loss": losses}

    return Plan(uniform_bits(linears, config.weight_bits), rewrite=rewrite)


def _fit_(
    rewriting: Rewriting,
    layout: ModelLayout,
    block: str,
    names: tuple[str, ...],
    calls: list[Call],
    config: OmniQuant,
    calibration: CalibrationSet,
) -> tuple[dict[str, float | None], list[torch.Tensor]]:
    """Fit a block of the network that is rounded up to there to what it answers to `calls` of full precision, and round
    it; return the losses and those answers."""
    backend, _ = resolve_backend(config.backend, config.activation_bits)
    module = rewriting.module
    seen = record_calls(module, layout, block, calibration, config.batch_size)
    groups = {name: group_of(module.get_submodule(name).in_features, config.group_size) for name in names}
    learned = LearnedBlock(module, layout, block, groups, calls, config)
    with torch.no_grad():
        answers = [call.on(module.get_submodule(block)) for call in calls]
    losses = best_of_training(learned, answers, seen, config)
    with torch.no_grad():
        tensors = learned.moved()
    rewriting.apply({name: tensor for name, tensor in tensors.items() if name in learned.changed})
    for name in names:
        grouped = grouped_rows(tensors[f"{name}.weight"], groups[name])
        codes = coded(grouped, lwc_grid(grouped, *learned.logits(name), config.weight_bits), config.weight_bits)
        bias = module.get_submodule(name).bias
        options = {"activation_bits": config.activation_bits, "backend": backend}
        rewriting.put(name, QuantLinear.from_codes(codes, config.weight_bits, bias, **options))
    return losses, answers
