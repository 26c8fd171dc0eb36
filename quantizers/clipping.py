"""Clip points by the error that matters: how far a layer's output moves, told by the second moments of its inputs."""

from __future__ import annotations

import torch

from quantizers.grids import Clip, Coded, Grid, coded, fit_grid, grouped_rows, round_to

CLIP_STEP = 0.05
"""Distance between clip points, as a share of the largest magnitude."""


def row_error(difference: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """float32[O]: squared error of each output for a weight off by float32[O, I] on inputs with X^T X float32[I, I]."""
    return ((difference @ gram) * difference).sum(dim=1)


def clip_and_code(
    weight: torch.Tensor, gram: torch.Tensor, bits: int, clip: Clip, group_size: int | None, steps: int
) -> Coded:
    """Codes of a weight float[O, I] whose groups are clipped at the best of 1, 0.95, .. times their largest magnitude.

    The error of a group is that of its own part of the dot products, on all inputs that `gram` float32[I, I] was made
    of. Of equal points the largest wins, so that inputs nobody has seen leave the weights alone.
    """
    grouped = grouped_rows(weight.float(), group_size)
    size = grouped.shape[2]
    blocks = torch.stack([gram[k : k + size, k : k + size] for k in range(0, gram.shape[0], size)])
    largest = grouped.abs().amax(dim=2, keepdim=True)
    best = _clipped(grouped, largest, bits, clip)
    if steps > 1:
        least = _group_error(grouped, best, bits, blocks)
        for step in range(1, steps):
            grid = _clipped(grouped, largest * (1 - CLIP_STEP * step), bits, clip)
            error = _group_error(grouped, grid, bits, blocks)
            better = error < least
            least = torch.where(better, error, least)
            best = Grid(*(None if new is None else torch.where(better, new, old)
                          for new, old in zip(grid, best, strict=True)))
    return coded(grouped, best, bits)


def _clipped(grouped: torch.Tensor, limit: torch.Tensor, bits: int, clip: Clip) -> Grid:
    """The grid of weights clamped to -limit .. limit. Rounding to it clamps, so weights need no clamp of their own."""
    return fit_grid(torch.minimum(torch.maximum(grouped, -limit), limit), bits, clip)


def _group_error(grouped: torch.Tensor, grid: Grid, bits: int, blocks: torch.Tensor) -> torch.Tensor:
    """float32[O, G, 1]."""
    codes = round_to(grouped, grid, bits)
    values = (codes if grid.zero is None else codes - grid.zero) * grid.scale
    difference = (values - grouped).transpose(0, 1)
    return ((difference @ blocks) * difference).sum(dim=2, keepdim=True).transpose(0, 1)
