"""QVLA (arXiv 2602.03782): a width per output channel, by how much the channel moves the actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from quantizers import exact
from quantizers.allocation import Rule, allocate
from quantizers.calibration import CalibrationSet
from quantizers.gptq import by_blocks, gptq
from quantizers.gram import gram_sensitivity
from quantizers.grids import CODE_BITS, Clip, Coded, fake_quantize
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.packing import row_bytes
from quantizers.plan import Plan
from quantizers.scope import BackendChoice, check_choices, resolve_backend
from quantizers.sensitivity import action_sensitivity

_SCALE_BYTES = 4
_ZERO_BYTES = 1
_POSITION_BYTES = 4


@dataclass(frozen=True)
class QVLA:
    """Channel-wise mixed widths under a budget.

    The defaults are the published setting (action-space sensitivity, increments per saved bit, 4 bits on average over
    channels, projector and action head untouched) with three deviations:

    - Scales are searched. With the absolute maximum, 2 bits are hardly better than pruning.
    - Activations have 8 bits, so that the layers multiply integers. The paper has one width for weights and
      activations; the released code does not quantize activations at all (`activation_bits=None`).
    - Exact measurement of the most sensitive channels is off (`recheck=0`): the paper does not say how many.

    `sensitivity="gram", rule="released", clip="absmax", activation_bits=None` is what the released code computes. A
    mean over channels does not fix the bytes, because rows differ in length; `budget="bytes"` does, and `rule="hull"`
    finds the best allocation for it.
    """

    bits: tuple[Literal[0, 2, 4, 8, 16], ...] = (0, 2, 4, 8, 16)
    """Widths that a channel may get, growing."""
    target_bits: float = 4.0
    """The budget: mean bits over channels; for a budget of bytes, mean bits per weight with scales and positions."""
    budget: Literal["bytes", "mean_bits"] = "mean_bits"
    """What `target_bits` limits."""
    sensitivity: Literal["action", "gram"] = "action"
    """What a channel's error is: the movement of the actions, or the weighted weight error of the released code."""
    rule: Rule = "incremental"
    """The order of demotions, see `quantizers.allocation`."""
    probes: int = 8
    """Random directions in action space per sample; as many as there are action coordinates make the average exact."""
    damp: float = 0.01
    """Share of the mean diagonal added to a gram matrix before it is inverted."""
    recheck: int = 0
    """Most sensitive channels whose estimate is replaced by true measurements."""
    check_channels: int = 16
    """Channels drawn at random on which the audit compares the estimate with true measurements; 0 for none."""
    check_samples: int = 8
    """Calibration samples for true measurements."""
    clip: Clip = "search"
    """How scales are chosen."""
    rounding: Literal["nearest", "gptq"] = "nearest"
    """How weights are rounded once the widths are chosen: each by itself, as published, or so that later columns of a
    row make up for the error of earlier ones, see `quantizers.gptq`. Sensitivities are those of the former."""
    activation_bits: Literal[4, 8] | None = 8
    """4 or 8 quantizes each token by its own maximum and multiplies integers; None leaves activations as they are."""
    roles: tuple[Role, ...] = ("vision", "language", "dit")
    """Parts of the network in scope."""
    seed: int = 0
    """Seed of the probes and of the channels to check."""
    backend: BackendChoice = "auto"
    """`auto` multiplies integers if activations are quantized, by compiled steps if there is a compiler."""

    def __post_init__(self) -> None:
        check_choices(self)
        if len(self.bits) < 2 or list(self.bits) != sorted(set(self.bits)):
            raise ValueError(f"bits is {self.bits}; it must list two or more widths, growing, each once")
        for name, least in {"probes": 1, "recheck": 0, "check_channels": 0, "check_samples": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not self.damp > 0:
            raise ValueError(f"damp is {self.damp}; it must be positive")


def plan_qvla(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: QVLA,
    calibration: CalibrationSet,
) -> Plan:
    """The width of every output channel, and what was measured about the sensitivity."""
    quantizer = partial(fake_quantize, clip=config.clip)
    arguments = (module, layout, linears, calibration, config.bits, quantizer)
    if config.sensitivity == "gram":
        values = gram_sensitivity(*arguments, damp=config.damp)
    else:
        values = action_sensitivity(*arguments, probes=config.probes, seed=config.seed)
    check = exact.compare(module, layout, linears, calibration, config.bits, quantizer, values, config)
    values = check.values
    error = torch.cat([value.t() for value in values.values()]).numpy()
    size = np.concatenate([_sizes(layer, config) for layer in linears.values()])
    weights = sum(layer.weight.numel() for layer in linears.values())
    units = len(error) if config.budget == "mean_bits" else weights / 8
    level = torch.from_numpy(allocate(error, size, config.target_bits * units, config.rule))
    widths = torch.tensor(config.bits)[level]
    parts = widths.split([layer.out_features for layer in linears.values()])
    plan = Plan(dict(zip(linears, parts, strict=True)), diagnostics=_diagnostics(error, level.numpy(), values, check))
    if config.rounding == "nearest":
        return plan
    return replace(plan, module=_rounded_by_blocks(module, layout, linears, plan.bits, config, calibration))


def _rounded_by_blocks(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    bits: dict[str, torch.Tensor],
    config: QVLA,
    calibration: CalibrationSet,
) -> nn.Module:
    backend, _ = resolve_backend(config.backend, config.activation_bits)

    def rounded(name: str, layer: nn.Linear, moments: torch.Tensor) -> QuantLinear:
        coder = partial(_coder, moments=moments, config=config)
        options = {"activation_bits": config.activation_bits, "backend": backend, "coder": coder}
        return QuantLinear(layer.weight.detach(), layer.bias, bits[name], **options)

    return by_blocks(module, layout, linears, calibration, rounded)


def _coder(rows: torch.Tensor, width: int, moments: torch.Tensor, config: QVLA) -> Coded:
    return gptq(rows, moments, width, config.clip, damp=config.damp, act_order=True)


def _sizes(layer: nn.Linear, config: QVLA) -> np.ndarray:
    """float64[O, L]: what a row takes at each width, in bits or in bytes."""
    if config.budget == "mean_bits":
        sizes = [float(width) for width in config.bits]
    else:
        scale_bytes = _SCALE_BYTES + (_ZERO_BYTES if config.clip == "minmax" else 0)
        sizes = [
            row_bytes(layer.in_features, width) + _POSITION_BYTES + (scale_bytes if width in CODE_BITS else 0)
            for width in config.bits
        ]
    # A row of two weights takes a byte at 2 bits and at 4, and less at 16 than at 8 with its scale; the allocation
    # wants sizes that grow, and counting a little too much keeps the budget.
    distinct = np.maximum.accumulate(np.array(sizes, dtype=np.float64)) + 1e-6 * np.arange(len(sizes))
    return np.tile(distinct, (layer.out_features, 1))


def _diagnostics(
    error: np.ndarray, level: np.ndarray, values: Mapping[str, torch.Tensor], check: exact.Comparison
) -> dict[str, Any]:
    return {
        "predicted_deviation": float(error[np.arange(len(error)), level].sum()),
        "dead_channels": int((error == 0).all(axis=1).sum()),
        "dead_layers": [name for name, value in values.items() if not value.any()],
        "spearman": check.spearman,
        "checked_channels": check.checked,
        "rechecked_channels": check.replaced,
    }
