"""GPTQ (Frantar et al. 2022, arXiv 2210.17323): round column by column, and let later columns make up for the error.

For inputs with second moments H = X^T X, the error of a row that matters is (w - q) H (w - q)^T. Rounding column i adds
e_i = (w_i - q_i) / U_ii with U the upper Cholesky factor of H^-1, and the columns behind it take off e_i U_i. A block's
inputs come from the network whose earlier blocks are already quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from quantizers.blocks import check_inputs, record_calls, stages, watched
from quantizers.calibration import CalibrationSet
from quantizers.grids import Clip, Coded, Grid, fit_grid, grouped_rows, round_to
from quantizers.grids import coded as on_grid
from quantizers.layout import ModelLayout, Role
from quantizers.linear import QuantLinear
from quantizers.plan import Plan, Rewriting, uniform_bits
from quantizers.scope import (
    BackendChoice,
    GroupChoice,
    check_choices,
    check_groups,
    check_positive,
    group_of,
    resolve_backend,
)

_GATHERED_ROWS = 256
"""Rows of a matrix that are put in order at once."""


@dataclass(frozen=True)
class GPTQ:
    """Second-order rounding: W4A16 with a scale and a zero point per row.

    The published setting, with the activation order that the authors recommend for Llama. Deviation: all layers of a
    block see the same quantized input, as in the authors' code without `true-sequential`.
    """

    weight_bits: Literal[2, 3, 4, 8] = 4
    """Width of every weight in scope."""
    activation_bits: Literal[4, 8] | None = None
    """4 or 8 quantizes each token by its own maximum and multiplies integers; None leaves activations as they are."""
    group_size: GroupChoice = None
    """Inputs that share a scale, None for the whole row, `auto` for 128 or what divides."""
    clip: Clip = "minmax"
    """How the grids are chosen, before any column is rounded."""
    damp: float = 0.01
    """Share of the mean diagonal of H added to it before it is inverted."""
    act_order: bool = True
    """Round columns in the order of falling input power. Grids of groups then come from the original weights; otherwise
    each comes from the weights as they are when its first column is reached."""
    block_columns: int = 128
    """Columns after which the error is spread over the rest; changes nothing but the speed."""
    roles: tuple[Role, ...] = ("vision", "language", "dit")
    """Parts of the network in scope."""
    backend: BackendChoice = "auto"
    """`auto` multiplies integers if activations are quantized, by compiled steps if there is a compiler."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(self, "group_size", "damp", "block_columns")


def plan_gptq(
    module: nn.Module,
    layout: ModelLayout,
    linears: dict[str, nn.Linear],
    config: GPTQ,
    calibration: CalibrationSet,
) -> Plan:
    """How to round; rewriting tells per layer the error that matters as a share of that of rounding to nearest."""
    check_groups(linears, config.group_size)
    check_inputs(module, layout, linears, calibration)
    backend, _ = resolve_backend(config.backend, config.activation_bits)

    def rewrite(rewriting: Rewriting) -> dict[str, Any]:
        share = {}

        def rounded(name: str, layer: nn.Linear, moments: torch.Tensor) -> QuantLinear:
            weight, group = layer.weight.detach(), group_of(layer.in_features, config.group_size)
            options = (config.clip, group, config.damp, config.act_order, config.block_columns)
            coded = gptq(weight, moments, config.weight_bits, *options)
            share[name] = _error_share(weight, coded, moments, config, group)
            options = {"activation_bits": config.activation_bits, "backend": backend}
            return QuantLinear.from_codes(coded, config.weight_bits, layer.bias, **options)

        by_blocks_(rewriting, layout, list(linears), calibration, rounded)
        return {"error_over_round_to_nearest": share}

    return Plan(uniform_bits(linears, config.weight_bits), rewrite=rewrite)


def by_blocks_(
    rewriting: Rewriting,
    layout: ModelLayout,
    names: Sequence[str],
    calibration: CalibrationSet,
    rounded: Callable[[str, nn.Linear, torch.Tensor], QuantLinear],
) -> None:
    """Replace the named layers by what `rounded(name, layer, moments float32[I, I])` makes of them.

    The moments are those of the inputs behind all blocks that have been replaced so far.
    """
    for block, inner in stages(layout, names).items():
        moments = _moments(rewriting.module, layout, block, inner, calibration)
        for name in inner:
            rewriting.put(name, rounded(name, rewriting.module.get_submodule(name), moments.pop(name)))


def gptq(
    weight: torch.Tensor,
    moments: torch.Tensor,
    bits: int,
    clip: Clip = "minmax",
    group_size: int | None = None,
    damp: float = 0.01,
    act_order: bool = False,
    block_columns: int = 128,
) -> Coded:
    """Codes of a weight float[O, I] for inputs with second moments float[I, I], on any scale.

    Inputs that are always zero get weights of zero. Raises ValueError for a group size that does not divide I.
    """
    rows, columns = weight.shape
    power = moments.diagonal().double()
    dead = power == 0
    order = torch.where(dead, 1.0, power).argsort(descending=True, stable=True) if act_order else torch.arange(columns)
    factor = inverse_factor(moments, order, damp)
    weight = torch.where(dead, 0.0, weight.double())
    group = group_size or columns
    static = fit_grid(grouped_rows(weight.float(), group_size), bits, clip)
    weight = weight[:, order]
    solver = _Solver(weight, factor, bits)
    grids = [Grid(*(None if part is None else part[:, g].double() for part in static)) for g in range(columns // group)]
    refit = clip if not act_order and group < columns else None
    # Blocks end where groups end, so that a grid is always fitted to weights that took every error so far.
    step = max(group, block_columns // group * group) if refit else block_columns
    for start in range(0, columns, step):
        solver.round_block(start, min(start + step, columns), order // group, grids, group, refit)
    codes = torch.empty(rows, columns, dtype=torch.int8)
    codes[:, order] = solver.codes
    scale = torch.cat([grid.scale for grid in grids], dim=1).float()
    zero = None if grids[0].zero is None else torch.cat([grid.zero for grid in grids], dim=1).to(torch.int8)
    return Coded(codes, scale, zero)


class _Solver:
    """Weights float64[O, I] in the order of rounding, which it changes: errors of rounded columns are taken off."""

    def __init__(self, weight: torch.Tensor, factor: torch.Tensor, bits: int) -> None:
        self.weight, self.factor, self.bits = weight, factor, bits
        self.codes = torch.empty(weight.shape, dtype=torch.int8)

    def round_block(
        self, start: int, stop: int, group_of_column: torch.Tensor, grids: list[Grid], group: int, refit: Clip | None
    ) -> None:
        """Round the columns start .. stop - 1; `refit` fits a group's grid anew at its first column."""
        errors = torch.zeros(len(self.weight), stop - start, dtype=torch.float64)
        for i in range(start, stop):
            at = int(group_of_column[i])
            if refit and i % group == 0:
                fresh = fit_grid(self.weight[:, i : i + group].float().unsqueeze(1), self.bits, refit)
                grids[at] = Grid(*(None if part is None else part[:, 0].double() for part in fresh))
            grid, column = grids[at], self.weight[:, i : i + 1]
            codes = round_to(column, grid, self.bits)
            values = (codes if grid.zero is None else codes - grid.zero) * grid.scale
            error = (column - values) / self.factor[i, i]
            self.weight[:, i:stop] -= error * self.factor[i, i:stop]
            self.codes[:, i], errors[:, i - start] = codes.squeeze(1).to(torch.int8), error.squeeze(1)
        self.weight[:, stop:] -= errors @ self.factor[start:stop, stop:]


def inverse_factor(moments: torch.Tensor, order: torch.Tensor, damp: float) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of the damped moments float[I, I] in this order int64[I], float64[I, I].

    Inputs that are always zero count as if they had power 1.
    """
    return inverted_(damped(moments, order, damp))


def damped(moments: torch.Tensor, order: torch.Tensor, damp: float) -> torch.Tensor:
    """float64[I, I]: the moments that `inverse_factor` inverts, for `inverted_`. Needs no second matrix beside it."""
    columns = len(order)
    # LAPACK's order in memory: column by column.
    held = moments.new_empty(columns, columns, dtype=torch.float64).t()
    for start in range(0, columns, _GATHERED_ROWS):
        stop = start + _GATHERED_ROWS
        held[start:stop] = moments[order[start:stop]][:, order]
    diagonal = held.diagonal()
    diagonal[diagonal == 0] = 1.0
    diagonal.add_(damp * diagonal.mean())
    return held


def inverted_(held: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of what `damped` gave, in the place of it: of a layer with many inputs
    such a matrix is larger than everything else that is known of the layer.
    """
    torch.linalg.cholesky(held, out=held)
    torch.cholesky_inverse(held, out=held)
    return torch.linalg.cholesky(held, upper=True, out=held)


def _moments(
    module: nn.Module, layout: ModelLayout, block: str, names: tuple[str, ...], calibration: CalibrationSet
) -> dict[str, torch.Tensor]:
    """Layer name -> X^T X, float32[I, I], over all calls of the block; zeros if a layer is never called."""
    sizes = {name: module.get_submodule(name).in_features for name in names}
    total = {name: torch.zeros(size, size) for name, size in sizes.items()}
    calls = record_calls(module, layout, block, calibration)
    with watched(module, names, lambda name, x: total[name].addmm_(x.t(), x)), torch.no_grad():
        for call in calls:
            call.on(module.get_submodule(block))
    return total


def _error_share(
    weight: torch.Tensor, coded: Coded, moments: torch.Tensor, config: GPTQ, group: int | None
) -> float | None:
    """Error of the codes in units of that of rounding to nearest; None if that has none."""
    grid = fit_grid(grouped_rows(weight.float(), group), config.weight_bits, config.clip)
    nearest = on_grid(grouped_rows(weight.float(), group), grid, config.weight_bits)
    moments, errors = moments.double(), []
    for values in (coded, nearest):
        difference = (values.values() - weight.float()).double()
        errors.append((difference @ moments).mul_(difference).sum().item())
    return errors[0] / errors[1] if errors[1] > 0 else None
