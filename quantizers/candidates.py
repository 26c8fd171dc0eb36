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
from quantizers.gptq import damped, inverted_
from quantizers.grids import CODE_BITS, Clip, Coded, Grid, code_range, fit_grid, half_rows, half_scale, quantize_rows
from quantizers.layout import ModelLayout
from quantizers.parts import cut, limit_bytes
from quantizers.stored import fits_half

_BLOCK_COLUMNS = 64
_AT_ONCE = 4096
"""Rows, counted once for each width, that are rounded at once: in float64 those of all widths of a large layer would
take a dozen times what its weight does."""


@dataclass(frozen=True)
class Candidates:
    """The rows of some layers at each of L widths. What codes stand for is made when it is asked for: numbers of all
    widths would take ten times what the weights do."""

    bits: tuple[int, ...]
    """The widths, growing."""
    codes: Mapping[str, Mapping[int, Coded]]
    """Layer name -> width -> the codes of all rows, for widths that have codes."""
    means: Mapping[str, torch.Tensor]
    """Layer name -> float32[I], the mean input for which a row's bias makes up; layers that do not are left out."""

    def weights(self, name: str, layer: nn.Linear, level: torch.Tensor | None = None) -> torch.Tensor:
        """float32[L, O, I]: what the rows of `layer` stand for; or float32[O, I], each at its level of int64[O]."""
        if level is None:
            return torch.stack([self._at(name, layer, width, slice(None)) for width in self.bits])
        rows = torch.empty(layer.weight.shape)
        for index, width in enumerate(self.bits):
            rows[level == index] = self._at(name, layer, width, level == index)
        return rows

    def changes(self, name: str, layer: nn.Linear) -> torch.Tensor:
        """float32[l, O, I]: what the widths below 16 bits add to the weight of `layer`."""
        weight = layer.weight.detach().float()
        widths = [width for width in self.bits if width < 16]
        changes = torch.empty(len(widths), *weight.shape)
        for change, width in zip(changes, widths, strict=True):
            change.copy_(self._at(name, layer, width, slice(None))).sub_(weight)
        return changes

    def channel(self, name: str, layer: nn.Linear, channel: int) -> torch.Tensor:
        """float32[L, I]: one row of `layer` at each width."""
        return torch.cat([self._at(name, layer, width, slice(channel, channel + 1)) for width in self.bits])

    def wide(self) -> set[str]:
        """Layers with a scale that float16 cannot hold."""
        return {name for name, codes in self.codes.items()
                if not all(fits_half(half_scale(coded.scale)) for coded in codes.values())}

    def bias(self, name: str, layer: nn.Linear, level: torch.Tensor) -> torch.Tensor | None:
        """float32[O], the bias of `layer` if its rows get the widths of `level` int64[O]; None if it has none.

        Rounded to float16 where it is changed, for that is how it is counted and saved.
        """
        if layer.bias is None or name not in self.means:
            return layer.bias
        rows = self.weights(name, layer, level)
        return (layer.bias + (layer.weight - rows) @ self.means[name]).detach().half().float()

    def _at(self, name: str, layer: nn.Linear, width: int, rows: slice | torch.Tensor) -> torch.Tensor:
        weight = layer.weight.detach()[rows]
        if width == 0:
            return torch.zeros(weight.shape)
        if width == 16:
            return half_rows(weight).float()
        return Coded(*(None if part is None else part[rows] for part in self.codes[name][width])).values()


def nearest(
    linears: Mapping[str, nn.Linear], bits: tuple[int, ...], clip: Clip, half_scales: bool = True
) -> Candidates:
    """Each weight rounded by itself; `half_scales` as for `quantizers.grids.fit_grid`."""
    coded = [width for width in bits if width in CODE_BITS]
    codes = {name: {width: quantize_rows(layer.weight, width, clip, half_scales=half_scales) for width in coded}
             for name, layer in linears.items()}
    _check_half(linears, bits)
    return Candidates(bits, codes, {})


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
    _check_half(linears, bits)
    codes, means = {}, {}
    widths = tuple(width for width in bits if width in CODE_BITS)
    sizes = {name: 4 * layer.in_features**2 for name, layer in linears.items()}
    for part in cut(linears, sizes, limit_bytes(module)):
        moments, found = _moments(module, layout, {name: linears[name] for name in part}, calibration)
        means |= {name: mean.float() for name, (mean, _) in found.items()}
        for name in part:
            weight = linears[name].weight.detach()
            # No name holds the moments here, so each step can let go of what the one before gave it.
            codes[name] = round_rows(weight, _around(moments.pop(name), *found[name]) if name in found
                                     else moments.pop(name), widths, clip, damp)
    return Candidates(bits, codes, means)


def _check_half(linears: Mapping[str, nn.Linear], bits: tuple[int, ...]) -> None:
    for layer in linears.values() if 16 in bits else ():
        half_rows(layer.weight)


def round_rows(
    weight: torch.Tensor, moments: torch.Tensor, widths: tuple[int, ...], clip: Clip, damp: float
) -> dict[int, Coded]:
    """What `quantizers.gptq.gptq` makes of a weight float[O, I] in the order of falling input power, at each width."""
    if not widths:
        return {}
    rows, columns = weight.shape
    power = moments.diagonal().double()
    dead = power == 0
    order = torch.where(dead, 1.0, power).argsort(descending=True, stable=True)
    factor = damped(moments, order, damp)
    del moments
    inverted_(factor)
    codes = torch.empty(len(widths), rows, columns, dtype=torch.int8)
    grids: dict[int, list[Grid]] = {width: [] for width in widths}
    step = max(1, _AT_ONCE // len(widths))
    for at in range(0, rows, step):
        own = torch.where(dead, 0.0, weight[at : at + step].float())
        for width in widths:
            grids[width].append(fit_grid(own.unsqueeze(1), width, clip))
        rest = own.new_empty(columns, len(widths), len(own), dtype=torch.float64)
        rest.copy_(own[:, order].t().unsqueeze(1))
        del own
        solved = _solved(rest.flatten(1), order, factor, [grids[width][-1] for width in widths], widths)
        codes[:, at : at + step] = solved.view_as(rest).permute(1, 2, 0)
        del rest, solved
    return {width: Coded(part, *_scales(grids[width])) for width, part in zip(widths, codes, strict=True)}


def _scales(grids: list[Grid]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """float32[O, 1] and int8[O, 1], or None: scales and zero points of the rows of all grids."""
    scale = torch.cat([grid.scale.squeeze(-1) for grid in grids])
    if grids[0].zero is None:
        return scale, None
    return scale, torch.cat([grid.zero.squeeze(-1) for grid in grids]).to(torch.int8)


def _solved(
    rest: torch.Tensor, order: torch.Tensor, factor: torch.Tensor, grids: list[Grid], widths: tuple[int, ...]
) -> torch.Tensor:
    """int8[I, L * R]: the codes of R rows at L widths, float64[I, L * R], which it changes.

    Columns are rounded in an order int64[I]; they come in it, as those of the upper factor float64[I, I]. Widths are
    rounded side by side, and columns are rows in memory: a tenth of the time.
    """
    columns, rows = len(rest), rest.shape[1] // len(widths)
    scale = torch.cat([grid.scale.flatten() for grid in grids]).double()
    zero = 0.0 if grids[0].zero is None else torch.cat([grid.zero.flatten() for grid in grids]).double()
    low, high = (torch.tensor([code_range(w)[end] for w in widths]).double().repeat_interleave(rows) for end in (0, 1))
    codes = torch.empty(columns, len(scale), dtype=torch.int8)
    block = rest.new_empty(min(_BLOCK_COLUMNS, columns), len(scale))
    for start in range(0, columns, _BLOCK_COLUMNS):
        stop = min(start + _BLOCK_COLUMNS, columns)
        errors = block[: stop - start]
        for i in range(start, stop):
            code = (rest[i] / scale).round_().add_(zero)
            code = torch.minimum(torch.maximum(code, low), high)
            codes[order[i]] = code.to(torch.int8)
            error = errors[i - start]
            torch.div(rest[i] - (code - zero) * scale, factor[i, i], out=error)
            rest[i + 1 : stop].addr_(factor[i, i + 1 : stop], error, alpha=-1)
        rest[stop:].addmm_(factor[start:stop, stop:].t(), errors, alpha=-1)
    return codes


def _moments(
    module: nn.Module, layout: ModelLayout, linears: Mapping[str, nn.Linear], calibration: CalibrationSet
) -> tuple[dict[str, torch.Tensor], dict[str, tuple[torch.Tensor, int]]]:
    """Second moments float32[I, I] of the inputs; of layers with a bias also their mean float64[I] and number."""
    sums = {name: torch.zeros(layer.in_features, dtype=torch.float64) for name, layer in linears.items()}
    products = {name: torch.zeros(layer.in_features, layer.in_features) for name, layer in linears.items()}
    tokens = dict.fromkeys(linears, 0)

    def visit(name: str, x: torch.Tensor) -> None:
        products[name].addmm_(x.t(), x)
        sums[name] += x.sum(dim=0)
        tokens[name] += len(x)

    observe(module, layout, list(linears), calibration, visit)
    means = {name: (sums[name] / tokens[name], tokens[name]) for name, layer in linears.items()
             if layer.bias is not None and tokens[name]}
    return products, means


def _around(moments: torch.Tensor, mean: torch.Tensor, tokens: int) -> torch.Tensor:
    """float64[I, I]: second moments around the mean."""
    moments = moments.double()
    moments.sub_(torch.outer(mean, mean), alpha=tokens)
    # Inputs that never change are the bias's business alone; rounding must not make of them negative powers.
    moments.diagonal().clamp_(min=0.0)
    return moments
