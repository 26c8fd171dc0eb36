"""QVLA (arXiv 2602.03782): a width per output channel, by how much the channel moves the actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from quantizers import exact
from quantizers.allocation import Rule
from quantizers.budget import choose_levels
from quantizers.calibration import CalibrationSet
from quantizers.candidates import Candidates, compensated, nearest
from quantizers.gram import gram_sensitivity
from quantizers.grids import CODE_BITS, Clip, Coded
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.parts import Parts, in_parts
from quantizers.plan import Plan, Rewriting
from quantizers.scope import BackendChoice, check_choices, resolve_backend
from quantizers.sensitivity import NO_GRADIENT, action_sensitivity

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Shares of a layer's channels whose sensitivities the audit lists."""


@dataclass(frozen=True)
class QVLA:
    """Channel-wise mixed widths under a budget.

    The defaults are the published setting (action-space sensitivity, increments per saved bit, 4 bits on average over
    channels, projector and action head untouched) with these deviations:

    - Scales are searched. With the absolute maximum, 2 bits are hardly better than pruning.
    - Rows are rounded with error compensation (`rounding="gptq"`), and sensitivities are those of such rows. The paper
      rounds to nearest; then, below 4 bits, errors of channels add up to far more than the sum of their estimates.
    - Pruning counts ten times its estimate (`prune_penalty`). The paper restricts it too, but does not say how.
    - The budget holds for the mean over weights as well as for that over channels, which alone does not fix the bytes:
      4 bits over channels can be 5 over weights, because rows differ in length.
    - Activations have 8 bits, so that the layers multiply integers. The paper has one width for weights and
      activations; the released code does not quantize activations at all (`activation_bits=None`).
    - Exact measurement of the most sensitive channels is off (`recheck=0`): the paper does not say how many.

    `rounding="nearest", prune_penalty=1, budget="channel_bits"` takes back the second to fourth;
    `sensitivity="gram", rule="released", clip="absmax", activation_bits=None` besides is what the released code
    computes. `budget="bytes"` limits the bytes themselves, and `rule="hull"` finds the best allocation for it.
    """

    bits: tuple[Literal[0, 2, 4, 8, 16], ...] = (0, 2, 4, 8, 16)
    """Widths that a channel may get, growing."""
    target_bits: float = 4.0
    """The budget; for one of bytes, mean bits per weight with scales and widths."""
    budget: Literal["bytes", "mean_bits", "channel_bits"] = "mean_bits"
    """What `target_bits` limits: the bytes, the mean bits over channels and over weights, or over channels alone, which
    is how the paper and the released code count."""
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
    rounding: Literal["nearest", "gptq"] = "gptq"
    """How rows are rounded at every width: each weight by itself, as published, or so that later columns make up for
    the error of earlier ones, and the bias for what is left of the mean, see `quantizers.candidates`."""
    prune_penalty: float = 10.0
    """Factor on the sensitivity at 0 bits; 1 takes the estimate as it is. A row that is left out is no small change,
    and the estimates of such rows add up to less of the truth than those of rounded ones."""
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
        for name in ("damp", "prune_penalty"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")


@dataclass(frozen=True)
class Measured:
    """What QVLA knows before it allocates; the same for every budget and rule."""

    parts: Parts
    """The layers, in parts that are worked on at once."""
    candidates: Candidates | None
    """The rows at every width; None for layers of several parts, whose rows are made again when their widths are known,
    for those of all layers would take more memory than the network."""
    check: exact.Comparison
    """Their sensitivities, and how well they were estimated."""
    wide: frozenset[str]
    """Layers with a scale that float16 cannot hold, whose scales take four bytes."""


def plan_qvla(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: QVLA,
    calibration: CalibrationSet,
) -> Plan:
    """The width of every output channel, and what was measured about the sensitivity."""
    measured = measure(module, layout, linears, config, calibration)
    return allocate_widths(layout, linears, config, calibration, measured)


def measure(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    config: QVLA,
    calibration: CalibrationSet,
) -> Measured:
    """What each width of each row of `linears` costs the actions."""
    parts = in_parts(module, layout, linears, calibration, sum(width in CODE_BITS for width in config.bits))
    drawn = exact.drawn(linears, config)
    values: dict[str, torch.Tensor] = {}
    rows: dict[exact.Channel, exact.Row] = {}
    candidates, wide = None, set()

    def rows_of(channels: Sequence[exact.Channel]) -> dict[exact.Channel, exact.Row]:
        found = {}
        for names in parts.all():
            wanted = [channel for channel in channels if channel[0] in names]
            if wanted:
                made = candidates or candidates_of(module, layout, names, config, calibration)
                found |= _rows(made, linears, wanted)
        return {channel: found[channel] for channel in channels}

    for names in parts.all():
        own = {name: linears[name] for name in names}
        made = candidates_of(module, layout, names, config, calibration)
        if config.sensitivity == "gram":
            values |= gram_sensitivity(module, layout, own, calibration, made, config.damp)
        else:
            values |= action_sensitivity(module, layout, own, calibration, made, config.probes, config.seed,
                                         lean=parts.several())
        rows |= _rows(made, linears, [channel for channel in drawn if channel[0] in names])
        wide |= made.wide()
        candidates = None if parts.several() else made
        del made
    if config.sensitivity == "action" and parts.several() and not any(value.any() for value in values.values()):
        raise ValueError(NO_GRADIENT)
    values, rows = {name: values[name] for name in linears}, {channel: rows[channel] for channel in drawn}
    check = exact.compare(module, layout, linears, calibration, config.bits, rows, rows_of, values, config)
    return Measured(parts, candidates, check, frozenset(wide))


def candidates_of(
    module: nn.Module, layout: ModelLayout, names: Sequence[str], config: QVLA, calibration: CalibrationSet
) -> Candidates:
    """The rows of the named layers of `module` at every width."""
    linears = {name: module.get_submodule(name) for name in names}
    if config.rounding == "nearest":
        # The proxy of the released code is that of scales in float32.
        return nearest(linears, config.bits, config.clip, half_scales=config.sensitivity != "gram")
    return compensated(module, layout, linears, calibration, config.bits, config.clip, config.damp)


def _rows(
    candidates: Candidates, linears: Mapping[str, nn.Linear], channels: Sequence[exact.Channel]
) -> dict[exact.Channel, exact.Row]:
    return {(name, channel): (candidates.channel(name, linears[name], channel), candidates.means.get(name))
            for name, channel in channels}


def allocate_widths(
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    config: QVLA,
    calibration: CalibrationSet,
    measured: Measured,
) -> Plan:
    """The plan that keeps the budget. Raises ValueError for a budget that the smallest widths do not meet."""
    values = measured.check.values
    error = torch.cat([value.t() for value in values.values()])
    weighed = error.clone()
    if config.bits[0] == 0:
        weighed[:, 0] *= config.prune_penalty
    level = torch.from_numpy(choose_levels(weighed.numpy(), linears, config, measured.wide))
    levels = dict(zip(linears, level.split([layer.out_features for layer in linears.values()]), strict=True))
    widths = torch.tensor(config.bits)
    bits = {name: widths[part] for name, part in levels.items()}
    plan = Plan(bits, diagnostics=_diagnostics(error, level, measured.check, config.bits))
    if config.rounding == "nearest":
        return plan

    def rewrite(rewriting: Rewriting) -> dict[str, Any]:
        # From the last layer to the first, so that each gets its inputs from full precision.
        for unit in reversed(measured.parts.units):
            made: dict[str, QuantLinear] = {}
            for names in unit:
                candidates = measured.candidates or candidates_of(rewriting.module, layout, names, config, calibration)
                for name in names:
                    layer = rewriting.module.get_submodule(name)
                    made[name] = _packed(candidates, name, layer, levels[name], config)
                del candidates, layer
            for name in list(made):
                rewriting.put(name, made.pop(name))
        return {}

    return replace(plan, rewrite=rewrite)


def _packed(
    candidates: Candidates, name: str, layer: nn.Linear, level: torch.Tensor, config: QVLA
) -> QuantLinear:
    """The layer with the chosen rows of the candidates."""
    backend, _ = resolve_backend(config.backend, config.activation_bits)
    bits = torch.tensor(config.bits)[level]

    def coder(_rows: torch.Tensor, width: int) -> Coded:
        return Coded(*(None if part is None else part[bits == width] for part in candidates.codes[name][width]))

    options = {"activation_bits": config.activation_bits, "backend": backend, "coder": coder}
    return QuantLinear(layer.weight.detach(), candidates.bias(name, layer, level), bits, **options)


def _diagnostics(
    error: torch.Tensor, level: torch.Tensor, check: exact.Comparison, bits: Sequence[int]
) -> dict[str, Any]:
    return {
        "predicted_deviation": error.gather(1, level.unsqueeze(1)).sum().item(),
        "dead_channels": int((error == 0).all(dim=1).sum()),
        "dead_layers": [name for name, value in check.values.items() if not value.any()],
        "spearman": check.spearman,
        "checked_channels": check.checked,
        "rechecked_channels": check.replaced,
        "sensitivity_quantiles": {
            name: {
                str(width): torch.quantile(row, torch.tensor(QUANTILES, dtype=row.dtype)).tolist()
                for width, row in zip(bits, value, strict=True)
                if width < 16
            }
            for name, value in check.values.items()
        },
    }
