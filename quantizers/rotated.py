"""The common course of QuantVLA and Omega-QVLA: rotate, find static scales, prove, round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from quantizers import flow_time
from quantizers.backends import Backend
from quantizers.blocks import check_inputs
from quantizers.calibration import CalibrationSet
from quantizers.gptq import by_blocks_, gptq
from quantizers.grids import Clip, quantize_rows
from quantizers.integer import ACTIVATION_LIMITS
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.plan import Plan, Rewriting, uniform_bits
from quantizers.quantiles import factored, quantile_tables, step_factors
from quantizers.scope import GroupChoice, check_groups, group_of, resolve_backend
from quantizers.turning import Recipe, Turning, prove, turning


class RotatedConfig(Protocol):
    """What this course needs of a config."""

    weight_bits: int
    activation_bits: int | None
    group_size: GroupChoice
    clip: Clip
    percentile: float
    damp: float
    backend: Any

    def recipe(self, role: Role) -> Recipe:
        """What is done to the layers of a role."""


def plan_rotated(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: RotatedConfig,
    calibration: CalibrationSet,
) -> Plan:
    """How to rotate and round. Raises LayoutError if a rotation does not preserve the actions."""
    check_groups(linears, config.group_size)
    roles = {site.name: site.role for site in layout.linears}
    recipes = {name: config.recipe(roles[name]) for name in linears}
    made = turning(module, layout, recipes)
    scales = _static_scales_(made, layout, recipes, config, calibration) if config.activation_bits else {}
    proof = prove(made, module, layout, calibration)
    backend, _ = resolve_backend(config.backend, config.activation_bits)
    if any(recipe.rounding == "gptq" for recipe in recipes.values()):
        check_inputs(module, layout, linears, calibration)

    def rewrite(rewriting: Rewriting) -> dict[str, Any]:
        rewriting.adopt(made.module)
        made.module = rewriting.module
        _round_(made, rewriting, layout, list(linears), recipes, scales, config, calibration, backend)
        return {}

    online = {name: around.multiply_adds() for name, around in made.around.items() if around.multiply_adds()}
    products = sum(layer.weight.numel() for layer in linears.values())
    found = {
        "rotations_move_actions_by": proof,
        "rotations_folded_into_neighbours": sorted({*made.values, *made.rows_done}),
        "rotation_multiply_adds_per_token": online,
        "rotation_multiply_adds_over_products": sum(online.values()) / products,
    }
    notes = {name: _note(made, name) for name in linears}
    return Plan(uniform_bits(linears, config.weight_bits), diagnostics=found, notes=notes, rewrite=rewrite)


def _static_scales_(
    made: Turning,
    layout: ModelLayout,
    recipes: Mapping[str, Recipe],
    config: RotatedConfig,
    calibration: CalibrationSet,
) -> dict[str, tuple[torch.Tensor | None, torch.Tensor]]:
    """Layer -> (times or None, scales float32[S, 1 or I]); channel factors have moved into weights and turns."""
    static = {name: recipe for name, recipe in recipes.items() if recipe.scales != "token"}
    # The published table per channel has a row for each step wherever there are steps.
    stepped = {name: recipe.scales == "step" or (recipe.scales == "channel" and _denoises(layout, name))
               for name, recipe in static.items()}
    tables = quantile_tables(made.module, layout, stepped, calibration, made.entered, config.percentile)
    limit, scales = ACTIVATION_LIMITS[config.activation_bits], {}
    for name, (times, table) in tables.items():
        if static[name].scales == "channel":
            scales[name] = (times, table / limit)
        else:
            channel = made.divide_(name, factored(table)[0])
            scales[name] = (times, step_factors(table, channel).unsqueeze(1) / limit)
    return scales


def _denoises(layout: ModelLayout, name: str) -> bool:
    return layout.denoiser is not None and name.startswith(f"{layout.denoiser}.")


def _round_(
    made: Turning,
    rewriting: Rewriting,
    layout: ModelLayout,
    names: Sequence[str],
    recipes: Mapping[str, Recipe],
    scales: Mapping[str, tuple[torch.Tensor | None, torch.Tensor]],
    config: RotatedConfig,
    calibration: CalibrationSet,
    backend: Backend,
) -> None:
    def rounded(name: str, layer: nn.Linear, moments: torch.Tensor | None) -> QuantLinear:
        weight, group = made.weight(name), group_of(layer.in_features, config.group_size)
        if moments is None:
            coded = quantize_rows(weight, config.weight_bits, config.clip, group)
        else:
            moments = made.moments(name, moments)
            coded = gptq(weight, moments, config.weight_bits, config.clip, group, config.damp, act_order=True)
        times, scale = scales.get(name, (None, None))
        around = made.around[name]._replace(static_scale=scale, static_time=times)
        options = {"around": around, "activation_bits": config.activation_bits, "backend": backend}
        return QuantLinear.from_codes(coded, config.weight_bits, made.bias(name), **options)

    solved = [name for name in names if recipes[name].rounding == "gptq"]
    with flow_time.following(rewriting.module, layout.denoiser):
        by_blocks_(rewriting, layout, solved, calibration, rounded)
    for name in (name for name in names if name not in solved):
        rewriting.put(name, rounded(name, rewriting.module.get_submodule(name), None))


def _note(made: Turning, name: str) -> str | None:
    around = made.around[name]
    parts = [(around.turn_in is not None, "input rotated at run time"), (name in made.values, "input rotated by its "
             "producer"), (around.turn_out is not None, "output rotated at run time"), (name in made.rows_done,
             "rows rotated for their reader")]
    return "; ".join(text for true, text in parts if true) or None
