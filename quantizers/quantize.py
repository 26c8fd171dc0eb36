"""The one entry point: rewrite a policy's module in place, and say what was done to every Linear of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from quantizers.audit import LayerAudit, QuantAudit, Status
from quantizers.awq import AWQ, plan_awq
from quantizers.backends import Backend
from quantizers.calibration import CalibrationSet
from quantizers.flow_time import follow_
from quantizers.gptq import GPTQ, plan_gptq
from quantizers.identity import Identity
from quantizers.layout import LinearSite, ModelLayout
from quantizers.ledger import held_bytes, storage_bytes, weight_bits
from quantizers.linear import QuantLinear
from quantizers.omega_qvla import OmegaQVLA, plan_omega_qvla
from quantizers.omniquant import OmniQuant, plan_omniquant
from quantizers.plan import Plan, Rewriting
from quantizers.quantvla import QuantVLA, plan_quantvla
from quantizers.qvla import QVLA, plan_qvla
from quantizers.registry import METHODS, QuantConfig, method_name, to_json
from quantizers.rtn import RTN, plan_rtn
from quantizers.scope import check_head, reasons_to_keep, resolve_backend
from quantizers.smoothquant import SmoothQuant, plan_smoothquant

FOUR_BIT_NOTE = {
    "reference": "4-bit activations are rounded and multiplied in float32",
    "cpu": "4-bit activation codes run through the 8-bit integer product",
    "mixed": "4-bit activation codes run through the 8-bit integer product",
    "cuda": "4-bit activation codes run through the 8-bit integer product",
}
"""Backend -> what the audit says of 4-bit activations; no device here multiplies 4-bit numbers."""

Planner = Callable[[nn.Module, ModelLayout, dict[str, nn.Linear], Any, CalibrationSet | None], Plan]
_PLANNERS: dict[type, Planner] = {}


def planner(kind: type) -> Callable[[Planner], Planner]:
    """Make the decorated function the planner for configs of type `kind`."""

    def register(function: Planner) -> Planner:
        _PLANNERS[kind] = function
        return function

    return register


@planner(Identity)
def _plan_identity(module, layout, linears, config, calibration) -> Plan:
    return Plan({})


@planner(RTN)
def _plan_rtn(module, layout, linears, config, calibration) -> Plan:
    return Plan(plan_rtn(linears, config), config.group_size)


for _kind, _function in (
    (SmoothQuant, plan_smoothquant),
    (AWQ, plan_awq),
    (GPTQ, plan_gptq),
    (OmniQuant, plan_omniquant),
    (QVLA, plan_qvla),
    (QuantVLA, plan_quantvla),
    (OmegaQVLA, plan_omega_qvla),
):
    planner(_kind)(_function)


def plan(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: QuantConfig,
    calibration: CalibrationSet | None = None,
) -> Plan:
    """What the method of `config` wants done to `linears`, some of those of `module`, which stays as it is."""
    return _PLANNERS[type(config)](module, layout, linears, config, calibration)


def quantize_(
    module: nn.Module,
    layout: ModelLayout,
    config: QuantConfig,
    calibration: CalibrationSet | None = None,
    planned: Plan | None = None,
) -> QuantAudit:
    """Replace the Linears of `module` that `config` wants by `QuantLinear`, in place.

    `planned` is what `plan` answered to the same arguments, for whoever has it already.

    A layer that packing would make larger is kept, unless its neighbours were rewritten for it. Raises TypeError for a
    config without a method, and ValueError if the layout and the module disagree on the Linears, if nothing is in
    scope, if a weight is not finite or does not fit the method, if calibration is missing, or if the method corrects a
    kind of head that the network does not have. The module is untouched in all of these cases.

    Layers are replaced one by one, so that the network and what is made of it never take much more memory together
    than the network does: an error that only shows meanwhile, of too little memory, say, leaves some of them replaced.
    """
    if type(config) not in _PLANNERS:
        known = ", ".join(sorted(kind.__name__ for kind in _PLANNERS))
        raise TypeError(f"no method for a config of type {type(config).__name__}; known types are {known}")
    name = method_name(config)
    if not METHODS[name].needs_calibration:
        calibration = None
    elif calibration is None:
        raise ValueError(f"method {name!r} needs a calibration set; record one with the policy's own observations")
    elif calibration.samples() < METHODS[name].least_samples:
        raise ValueError(
            f"method {name!r} needs a calibration set of at least {METHODS[name].least_samples} observations, and this "
            f"one has {calibration.samples()}; record more"
        )
    check_head(config, layout.denoiser is not None)
    linears = accounted(module, layout)
    reasons = reasons_to_keep(module, layout, config)
    wanted = {site: layer for site, layer in linears.items() if site not in reasons}
    check_scope(wanted, config)
    _check_weights(wanted)

    held_full, storage_full = held_bytes(module), storage_bytes(module)
    bytes_before = {site: storage_bytes(layer) for site, layer in linears.items()}
    planned = planned or plan(module, layout, wanted, config, calibration)
    backend, backend_reason = "none", None
    if wanted:
        backend, backend_reason = resolve_backend(config.backend, config.activation_bits)
    rewriting = Rewriting(module, linears, wanted)
    if planned.rewrite is None:
        reasons |= _stream_(rewriting, wanted, config, planned, backend)
    else:
        found = planned.rewrite(rewriting)
        planned = replace(planned, diagnostics=planned.diagnostics | found)
    replacements = {site: layer for site, layer in wanted.items() if site in rewriting.replaced}
    moved = rewriting.moved()
    if not replacements:
        backend, backend_reason = "none", None
    if any(isinstance(layer, QuantLinear) and layer.static_time is not None for layer in replacements.values()):
        follow_(module, layout.denoiser)

    notes = {name.rpartition(".")[0]: "a neighbour or a correction was folded into it" for name in moved}
    notes = planned.notes | notes
    layers = tuple(
        _layer_audit(site, linears[site.name], bytes_before, reasons, notes, planned) for site in layout.linears
    )
    changed = [layer for layer in layers if layer.status == "quantized"]
    measured = list(replacements.values()) or list(linears.values())
    diagnostics = planned.diagnostics | ({} if backend_reason is None else {"backend_reason": backend_reason})
    if moved:
        diagnostics["folded_into"] = list(moved)
    if wanted and config.activation_bits == 4:
        diagnostics["arithmetic"] = FOUR_BIT_NOTE[backend]
    return QuantAudit(
        method=name,
        config=to_json(config),
        backend=backend,
        integer_arithmetic=backend not in ("none", "reference"),
        calibration_digest=None if calibration is None else calibration.digest,
        calibration_episodes=() if calibration is None else tuple(dict.fromkeys(calibration.episodes)),
        storage_bytes_full=storage_full,
        storage_bytes=storage_bytes(module),
        held_bytes_full=held_full,
        held_bytes=held_bytes(module),
        component_bytes_full=sum(layer.bytes_before for layer in changed),
        component_bytes=sum(layer.bytes_after for layer in changed),
        mean_bits=torch.cat([_channel_bits(layer) for layer in measured]).double().mean().item(),
        mean_bits_per_weight=sum(map(weight_bits, measured))
        / sum(layer.in_features * layer.out_features for layer in measured),
        layers=layers,
        diagnostics=diagnostics,
    )


def accounted(module: nn.Module, layout: ModelLayout) -> dict[str, nn.Linear]:
    """Every Linear of the module by name, in the order of the layout, after checking that both name the same ones."""
    actual = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    named = [site.name for site in layout.linears]
    repeated = sorted(name for name, count in Counter(named).items() if count > 1)
    missing, unknown = sorted(set(actual) - set(named)), sorted(set(named) - set(actual))
    for problem, names in (
        ("repeats", repeated),
        ("does not name", missing),
        ("names, although the module has no such Linear,", unknown),
    ):
        if names:
            raise ValueError(
                f"the layout {problem} {names[0]!r} ({len(names)} such name(s)); it must name every torch.nn.Linear of "
                "the module exactly once"
            )
    return {name: actual[name] for name in named}


def check_scope(wanted: Mapping[str, nn.Linear], config: QuantConfig) -> None:
    """Raise ValueError if a method is left with nothing to quantize."""
    if not wanted and not isinstance(config, Identity):
        raise ValueError(
            f"method {method_name(config)!r} has nothing to quantize: no Linear that it could replace has a role among "
            f"{', '.join(config.roles)}"
        )


def _check_weights(wanted: dict[str, nn.Linear]) -> None:
    for site, layer in wanted.items():
        if not torch.isfinite(layer.weight).all():
            raise ValueError(f"the weight of {site!r} holds NaN or infinite values; the checkpoint is broken")


def _stream_(
    rewriting: Rewriting, wanted: dict[str, nn.Linear], config: QuantConfig, planned: Plan, backend: Backend
) -> dict[str, tuple[Status, str]]:
    """Quantize one layer after the other. Returns why which layers are left alone.

    A layer that is smaller as it is, such as one of few inputs, whose scales outweigh what codes save, is left alone,
    by the sizes that were measured. What could be refused is tried on a row of every width first, while the module is
    still untouched.
    """
    for site, layer in wanted.items():
        bits = planned.bits[site]
        rows = [int((bits == width).nonzero()[0]) for width in bits.unique()] if len(bits) == layer.out_features else []
        _quantized(site, layer, config, planned, backend, rows or None)
    losing: dict[str, tuple[Status, str]] = {}
    for site in wanted:
        made, full = _quantized(site, wanted[site], config, planned, backend), storage_bytes(wanted[site])
        if made.stored_bytes() > full:
            losing[site] = "kept", f"packed it would take {made.stored_bytes():,} bytes, as float16 it takes {full:,}"
            continue
        rewriting.put(site, made)
    return losing


def _quantized(
    site: str, layer: nn.Linear, config: QuantConfig, plan: Plan, backend: Backend, rows: list[int] | None = None
) -> QuantLinear:
    """The layer as planned, or only the named rows of it."""
    chosen = slice(None) if rows is None else rows
    try:
        return QuantLinear(
            layer.weight.detach()[chosen],
            None if layer.bias is None else layer.bias[chosen],
            plan.bits[site][chosen],
            clip=config.clip,
            group_size=plan.group_size,
            activation_bits=config.activation_bits,
            backend=backend,
        )
    except ValueError as error:
        raise ValueError(f"layer {site!r} ({layer.in_features} -> {layer.out_features}): {error}") from error


def _channel_bits(layer: nn.Linear | QuantLinear) -> torch.Tensor:
    return layer.channel_bits() if isinstance(layer, QuantLinear) else torch.full((layer.out_features,), 16)


def _layer_audit(
    site: LinearSite,
    layer: nn.Linear | QuantLinear,
    bytes_before: dict[str, int],
    reasons: dict[str, tuple[str, str]],
    notes: dict[str, str | None],
    plan: Plan,
) -> LayerAudit:
    status, reason = reasons.get(site.name, ("quantized", None))
    if notes.get(site.name):
        reason = f"{reason}; {notes[site.name]}" if reason else notes[site.name]
    if site.name in plan.diagnostics.get("dead_layers", ()):
        reason = "no action depends on this layer in the calibration set"
    return LayerAudit(
        name=site.name,
        role=site.role,
        status=status,
        reason=reason,
        bits={str(width): count for width, count in sorted(Counter(_channel_bits(layer).tolist()).items())},
        bytes_before=bytes_before[site.name],
        bytes_after=storage_bytes(layer),
        metadata_bytes=layer.metadata_bytes() if isinstance(layer, QuantLinear) else 0,
    )
