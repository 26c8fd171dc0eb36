"""Integer grids for weight rows: how a real number becomes a code of 2, 3, 4 or 8 bits, and back.

A row `w` gets one scale `s` (or one per group of inputs) and integer codes `q`, so that `w` is about `s * (q - z)`. The
codes of b bits are the two's complement range -2^(b-1) .. 2^(b-1)-1. Four ways choose the scale and the zero point z:

- `absmax`: `s = max|w| / (2^(b-1) - 1)`. Nothing is clipped and the lowest code is never used, which leaves only three
  levels at 2 bits and turns about nine of ten Gaussian weights into zero.
- `five`: the scale of least squared error among five, `absmax` over 0.5, 0.75, 1, 1.25 and 1.5; more than 1 clips. It
  is what QuantVLA (arXiv 2602.20309) and Omega-QVLA (arXiv 2605.28803) released.
- `search`: the scale of least squared error among a geometric range of clip points and both signs, polished by least
  squares. A negative scale mirrors the grid, so that at 2 bits the levels are -2, -1, 0, 1 or -1, 0, 1, 2 times `|s|`,
  whichever suits the row. It needs no zero point, hence no extra term in an integer product.
- `minmax`: `s = (max w - min w) / (2^b - 1)` with the zero point that puts 0 on the grid. The range is widened to hold
  0, without which a group of one sign would collapse to a single level (its zero point does not fit the codes).

All arithmetic is float32, whatever the dtype of the weights. Scales are rounded to float16 before codes are chosen, so
that they are stored in two bytes and nothing is lost; where that would move one by more than 2^-10 of itself, as below
1.5e-5, it stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch

Clip = Literal["absmax", "search", "minmax", "five"]
"""How the scale of a row is chosen; only `minmax` has zero points."""

CODE_BITS = (2, 3, 4, 8)
"""Widths that are stored as integer codes."""
CHANNEL_BITS = (0, *CODE_BITS, 16)
"""Widths that an output channel may have: 0 is pruned, 16 is a float16 row."""

_LOWEST_CLIP = {2: 0.05, 3: 0.1, 4: 0.2, 8: 0.7}
"""Smallest clip point of the search as a fraction of max|w|; heavy tails need more room the fewer levels there are."""
_CLIP_STEPS = {2: 24, 3: 22, 4: 20, 8: 6}
_POLISH_ROUNDS = 2
_FIVE = (1.0, 0.5, 0.75, 1.25, 1.5)
"""Divisors of the scale that `five` tries; of equal errors the first wins."""
_HALF_PRECISION = 2.0**-10
"""Share of itself by which a scale may be moved for the sake of two bytes."""
Held = Callable[[torch.Tensor], torch.Tensor]
"""The scale that is stored for one that was computed."""
_CHUNK_WEIGHTS = 1 << 17
"""Weights searched at once; small enough that the temporaries stay in cache."""


class Grid(NamedTuple):
    """What turns codes into numbers; G is the number of groups of inputs, 1 for whole rows."""

    scale: torch.Tensor
    """float32[O, G, 1]; negative where `search` mirrored the grid."""
    zero: torch.Tensor | None
    """float32[O, G, 1], the code of 0, a whole number; None stands for 0 everywhere."""


class Coded(NamedTuple):
    """A weight as codes on its grid."""

    codes: torch.Tensor
    """int8[O, I]."""
    scale: torch.Tensor
    """float32[O, G]."""
    zero: torch.Tensor | None
    """int8[O, G], None for a symmetric grid."""

    def values(self) -> torch.Tensor:
        """float32[O, I] that the codes stand for."""
        return dequantize_rows(*self)


def code_range(bits: int) -> tuple[int, int]:
    """(lowest, highest) code of `bits` bits in two's complement."""
    if bits not in CODE_BITS:
        raise ValueError(f"no integer grid of {bits} bits; legal widths are {', '.join(map(str, CODE_BITS))}")
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def quantize_rows(
    weight: torch.Tensor, bits: int, clip: Clip = "absmax", group_size: int | None = None, half_scales: bool = True
) -> Coded:
    """Codes of a weight float[O, I] on the grid that `clip` chooses; `half_scales` as for `fit_grid`.

    Raises ValueError for a width without a grid, a group size that does not divide I, or a weight that is not finite.
    """
    grouped = grouped_rows(weight.detach().float(), group_size)
    return coded(grouped, fit_grid(grouped, bits, clip, half_scales), bits)


def grouped_rows(weight: torch.Tensor, group_size: int | None) -> torch.Tensor:
    """[O, G, I / G] view of a weight [O, I]. Raises ValueError for a group size that does not divide I."""
    rows, width = weight.shape
    if group_size is None:
        return weight.reshape(rows, 1, width)
    if group_size < 1 or width % group_size:
        raise ValueError(f"group size {group_size} does not divide the {width} inputs of the layer")
    return weight.reshape(rows, width // group_size, group_size)


def fit_grid(grouped: torch.Tensor, bits: int, clip: Clip, half_scales: bool = True) -> Grid:
    """The grid of `bits` bits for each group of float32[O, G, I / G]. Raises ValueError if a weight is not finite.

    Without `half_scales` scales are those that a method published in float32, which takes twice the bytes.
    """
    code_range(bits)
    if not torch.isfinite(grouped).all():
        raise ValueError(f"cannot quantize a weight of shape {tuple(grouped.shape)}: it holds NaN or infinite values")
    if clip == "minmax":
        return minmax_grid(grouped.amin(dim=-1, keepdim=True), grouped.amax(dim=-1, keepdim=True), bits, half_scales)
    held = half_scale if half_scales else torch.clone
    if clip == "absmax":
        return Grid(held(_absmax_scale(grouped, bits)), None)
    if clip == "search":
        rows = max(1, _CHUNK_WEIGHTS // max(1, grouped.shape[1] * grouped.shape[2]))
        return Grid(torch.cat([_searched_scale(chunk, bits, held) for chunk in grouped.split(rows)]), None)
    if clip == "five":
        return Grid(_best_of_five(grouped, bits, held), None)
    raise ValueError(f"unknown clip {clip!r}; legal values are {', '.join(map(repr, get_args(Clip)))}")


def half_scale(scale: torch.Tensor) -> torch.Tensor:
    """The scale float32[..] that is stored: the nearest that float16 holds, unless that is far away; with the gradient
    of `scale`."""
    half = scale.detach().half().float()
    near = (half - scale.detach()).abs() <= scale.detach().abs() * _HALF_PRECISION
    return scale + torch.where(near, half - scale.detach(), torch.zeros_like(half))


def minmax_grid(lowest: torch.Tensor, highest: torch.Tensor, bits: int, half_scales: bool = True) -> Grid:
    """The grid that spans `lowest` .. `highest`, float32[O, G, 1] each, and 0; `half_scales` as for `fit_grid`."""
    low, high = code_range(bits)
    lowest, highest = lowest.clamp_max(0.0), highest.clamp_min(0.0)
    scale = _divisible((highest - lowest) / (high - low))
    scale = half_scale(scale) if half_scales else scale
    return Grid(scale, (low - lowest / scale).round().clamp(low, high))


def round_to(grouped: torch.Tensor, grid: Grid, bits: int) -> torch.Tensor:
    """Codes of float32[O, G, N] on `grid`, as whole numbers in float32."""
    codes = (grouped / grid.scale).round_()
    return (codes if grid.zero is None else codes.add_(grid.zero)).clamp_(*code_range(bits))


def coded(grouped: torch.Tensor, grid: Grid, bits: int) -> Coded:
    """The codes of float32[O, G, N] on `grid`, as they are stored."""
    codes = round_to(grouped, grid, bits).to(torch.int8).flatten(1)
    return Coded(codes, grid.scale.squeeze(-1), None if grid.zero is None else grid.zero.squeeze(-1).to(torch.int8))


def dequantize_rows(codes: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
    """float32[O, I] that codes int8[O, I], scales float32[O, G] and zero points int8[O, G] stand for."""
    rows, width = codes.shape
    groups = scale.shape[1]
    steps = codes.reshape(rows, groups, width // groups).float()
    if zero is not None:
        steps.sub_(zero.unsqueeze(-1).float())
    return steps.mul_(scale.unsqueeze(-1)).reshape(rows, width)


def half_rows(weight: torch.Tensor) -> torch.Tensor:
    """float16[O, I], the 16-bit rows. Raises ValueError where float16 cannot hold a value."""
    half = weight.detach().half()
    if not torch.isfinite(half).all():
        largest = weight.detach().abs().max().item()
        raise ValueError(f"a 16-bit row does not fit float16: the largest magnitude is {largest:g}, the limit is 65504")
    return half


def fake_quantize(
    weight: torch.Tensor, bits: int, clip: Clip = "absmax", group_size: int | None = None
) -> torch.Tensor:
    """float32[O, I]: what `weight` becomes at `bits` bits per weight, for every width in `CHANNEL_BITS`."""
    if bits == 0:
        return torch.zeros_like(weight, dtype=torch.float32)
    if bits == 16:
        return half_rows(weight).float()
    return quantize_rows(weight, bits, clip, group_size).values()


def _codes(grouped: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    low, high = code_range(bits)
    return (grouped / scale).round_().clamp_(low, high)


def _absmax_scale(grouped: torch.Tensor, bits: int) -> torch.Tensor:
    largest = grouped.abs().amax(dim=-1, keepdim=True)
    return _divisible(largest / code_range(bits)[1])


def _divisible(scale: torch.Tensor) -> torch.Tensor:
    """A row of zeros, or one too small to divide, has no scale of its own; 1 turns it into codes of zero."""
    return torch.where(scale >= torch.finfo(torch.float32).tiny, scale, torch.ones_like(scale))


def _searched_scale(grouped: torch.Tensor, bits: int, held: Held) -> torch.Tensor:
    start = _absmax_scale(grouped, bits)
    best = held(start)
    least = _squared_error(grouped, best, bits)
    steps = _CLIP_STEPS[bits]
    fractions = torch.logspace(0, torch.log10(torch.tensor(_LOWEST_CLIP[bits])).item(), steps).tolist()
    # Mirroring moves one level in 256 at 8 bits: not worth the time.
    signs = (1.0, -1.0) if bits < 8 else (1.0,)
    for factor in [sign * fraction for fraction in fractions for sign in signs]:
        best, least = _keep_better(grouped, held(start * factor), bits, best, least)
    for _ in range(_POLISH_ROUNDS):
        codes = _codes(grouped, best, bits)
        energy = codes.square().sum(dim=-1, keepdim=True)
        fitted = (codes * grouped).sum(dim=-1, keepdim=True) / energy
        usable = (energy > 0) & (fitted.abs() >= torch.finfo(torch.float32).tiny)
        best, least = _keep_better(grouped, held(torch.where(usable, fitted, best)), bits, best, least)
    return best


def _best_of_five(grouped: torch.Tensor, bits: int, held: Held) -> torch.Tensor:
    whole = _absmax_scale(grouped, bits)
    best = held(whole)
    least = _squared_error(grouped, best, bits)
    for divisor in _FIVE[1:]:
        best, least = _keep_better(grouped, held(whole / divisor), bits, best, least)
    return best


def _keep_better(
    grouped: torch.Tensor, scale: torch.Tensor, bits: int, best: torch.Tensor, least: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    error = _squared_error(grouped, scale, bits)
    better = error < least
    return torch.where(better, scale, best), torch.where(better, error, least)


def _squared_error(grouped: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    return _codes(grouped, scale, bits).mul_(scale).sub_(grouped).square_().sum(dim=-1, keepdim=True)
