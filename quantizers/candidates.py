"""What every width would make of every row, before it is decided which width a row gets.

`nearest` rounds each weight by itself, as published. `compensated` is ours: with H = X^T X of a layer's inputs, later
columns make up for the error of earlier ones (`quantizers.gptq`), and where a layer has a bias it takes over the mean
of what is left. The reason is what sensitivities assume, that errors of channels add up like independent ones. Errors
of plain rounding at 2 bits, and of rows that are left out, share directions with the inputs that all channels of a
layer see, and do not: the actions of a small policy moved a hundred times as far as the sum foretold (squared norm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from quantizers.blocks import observe
from quantizers.calibration import CalibrationSet
from quantizers.gptq import inverse_factor
from quantizers.grids import CODE_BITS, Clip, Coded, code_range, fake_quantize, fit_grid, half_rows
from quantizers.layout import ModelLayout

_BLOCK_COLUMNS = 64


@dataclass(frozen=True)
class Candidates:
    """The rows of some layers at each of L widths."""

    bits: tuple[int, ...]
    """The widths, growing."""
    weights: Mapping[str, torch.Tensor]
    """Layer name -> float32[L, O, I], what the rows stand for."""
    codes: Mapping[str, Mapping[int, Coded]]
    """Layer name -> width -> the codes of all rows; empty if they are those of plain rounding."""
    means: Mapping[str, torch.Tensor]
    """Layer name -> float32[I], the mean input for which a row's bias makes up; layers that do not are left out."""

    def bias(self, name: str, layer: nn.Linear, level: torch.Tensor) -> torch.Tensor | None:
        """float32[O], the bias of `layer` if its rows get the widths of `level` int64[O]; None if it has none.

        Rounded to float16 where it is changed, for that is how it is counted and saved.
        """
        if layer.bias is None or name not in self.means:
            return layer.bias
        rows = self.weights[name][level, torch.arange(len(level))]
        return (layer.bias + (layer.weight - rows) @ self.means[name]).detach().half().float()


def nearest(linears: Mapping[str, nn.Linear], bits: tuple[int, ...], clip: Clip) -> Candidates:
    """Each weight rounded by itself."""
    weights = {
        name: torch.stack([fake_quantize(layer.weight.detach(), width, clip) for width in bits])
        for name, layer in linears.items()
    }
    return Candidates(bits, weights, {}, {})


def compensated(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    calibration: CalibrationSet,
    bits: tuple[int, ...],
    clip: Clip,
    damp: float,
) -> Candidates:
    """Each row rounded so that its output moves least on the inputs of the untouched network, at all widths at once."""
    moments, means = _moments(module, layout, linears, calibration)
    weights, codes = {}, {}
    for name, layer in linears.items():
        weight = layer.weight.detach().float()
        codes[name] = round_rows(weight, moments[name], tuple(b for b in bits if b in CODE_BITS), clip, damp)
        whole = {0: torch.zeros_like(weight)} | ({16: half_rows(weight).float()} if 16 in bits else {})
        weights[name] = torch.stack([whole[b] if b in whole else codes[name][b].values() for b in bits])
    return Candidates(bits, weights, codes, means)


def round_rows(
    weight: torch.Tensor, moments: torch.Tensor, widths: tuple[int, ...], clip: Clip, damp: float
) -> dict[int, Coded]:
    """What `quantizers.gptq.gptq` makes of a weight float[O, I] in the order of falling input power, at each width.

    Widths are rounded side by side, and columns are rows in memory: a tenth of the time.
    """
    if not widths:
        return {}
    rows, columns = weight.shape
    moments = moments.double().clone()
    dead = moments.diagonal() == 0
    moments.diagonal()[dead] = 1.0
    order = moments.diagonal().argsort(descending=True, stable=True)
    factor = inverse_factor(moments[order][:, order], damp)
    rest = torch.where(dead, 0.0, weight.double())[:, order].t().repeat(1, len(widths)).contiguous()
    fitted = torch.where(dead, 0.0, weight.float()).unsqueeze(1)
    grids = [fit_grid(fitted, width, clip) for width in widths]
    scale = torch.cat([grid.scale.flatten() for grid in grids]).double()
    zero = 0.0 if grids[0].zero is None else torch.cat([grid.zero.flatten() for grid in grids]).double()
    low, high = (torch.tensor([code_range(w)[end] for w in widths]).double().repeat_interleave(rows) for end in (0, 1))
    codes = torch.empty(columns, len(scale), dtype=torch.int8)
    for start in range(0, columns, _BLOCK_COLUMNS):
        stop = min(start + _BLOCK_COLUMNS, columns)
        errors = rest.new_empty(stop - start, len(scale))
        for i in range(start, stop):
            code = (rest[i] / scale).round_().add_(zero)
            code = torch.minimum(torch.maximum(code, low), high)
            codes[order[i]] = code.to(torch.int8)
            error = errors[i - start]
            torch.div(rest[i] - (code - zero) * scale, factor[i, i], out=error)
            rest[i + 1 : stop].addr_(factor[i, i + 1 : stop], error, alpha=-1)
        rest[stop:].addmm_(factor[start:stop, stop:].t(), errors, alpha=-1)
    parts = codes.t().contiguous().split(rows)
    return {
        width: Coded(part, grid.scale.squeeze(-1), None if grid.zero is None else grid.zero.squeeze(-1).to(torch.int8))
        for width, part, grid in zip(widths, parts, grids, strict=True)
    }


def _moments(
    module: nn.Module, layout: ModelLayout, linears: Mapping[str, nn.Linear], calibration: CalibrationSet
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Second moments float64[I, I] of the inputs, around their mean for layers with a bias; and those means."""
    sums = {name: torch.zeros(layer.in_features, dtype=torch.float64) for name, layer in linears.items()}
    products = {name: torch.zeros(layer.in_features, layer.in_features) for name, layer in linears.items()}
    tokens = dict.fromkeys(linears, 0)

    def visit(name: str, x: torch.Tensor) -> None:
        products[name].addmm_(x.t(), x)
        sums[name] += x.sum(dim=0)
        tokens[name] += len(x)

    observe(module, layout, list(linears), calibration, visit)
    moments = {name: product.double() for name, product in products.items()}
    means = {}
    for name, layer in linears.items():
        if layer.bias is not None and tokens[name]:
            mean = sums[name] / tokens[name]
            means[name] = mean.float()
            # Inputs that never change are the bias's business alone; rounding must not make of them negative powers.
            moments[name].sub_(torch.outer(mean, mean), alpha=tokens[name])
            moments[name].diagonal().clamp_(min=0.0)
    return moments, means
