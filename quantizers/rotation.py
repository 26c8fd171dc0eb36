"""Orthogonal rotations of a layer's inputs and outputs in blocks of channels, made of its weight alone.

A Linear with the weight W computes x W^T = (x R) (W R)^T for any orthogonal R. Mixing the channels of a block spreads
an outlier over all of them, so that rounding hurts less. Three ways to choose a block R_b (DuQuant, Lin et al. 2024;
QuantVLA, arXiv 2602.20309; Omega-QVLA, arXiv 2605.28803):

- `svd`: the left singular vectors of W_b^T, the weight columns of the block. Alone it concentrates energy.
- `hadamard`: Sylvester's matrix over the square root of its size.
- `svd_hadamard`: their product, after which every column of W_b R_b has the same energy.

Channels may be dealt to the blocks in another order first. A rotation that no neighbour takes is a product at run time,
for which its blocks are kept in float16; weights are then moved by the inverse of the rounded blocks, so that rounding
them costs nothing in exactness.
"""

from __future__ import annotations

from typing import Literal

import torch

Rotation = Literal["none", "svd", "hadamard", "svd_hadamard"]
"""How the blocks of a rotation are made."""
Permutation = Literal["none", "snake", "zigzag"]
"""How channels are dealt to blocks by the energy of their weights. `zigzag` is what QuantVLA and Omega-QVLA released:
largest, smallest, second largest, second smallest .., which gives the first block all extremes. `snake` is DuQuant's:
blocks 1 .. K, then K .. 1, and so on, in falling order, which gives every block its share."""


def hadamard(size: int) -> torch.Tensor:
    """Sylvester's matrix over sqrt(size), float64[size, size], orthogonal and symmetric.

    Raises ValueError unless `size` is a power of two.
    """
    if size < 1 or size & (size - 1):
        raise ValueError(f"there is no Sylvester matrix of size {size}; legal sizes are powers of two")
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / size**0.5


def block_size(channels: int, limit: int) -> int:
    """The greatest power of two that divides `channels` and is at most `limit`, so that every block is whole."""
    return min(channels & -channels, 1 << (limit.bit_length() - 1))


def input_blocks(weight: torch.Tensor, size: int, kind: Rotation) -> torch.Tensor:
    """float64[I / size, size, size]: R_b of each block of input channels of a weight float[O, I]."""
    count = weight.shape[1] // size
    if kind == "none":
        return torch.eye(size, dtype=torch.float64).repeat(count, 1, 1)
    if kind == "hadamard":
        return hadamard(size).repeat(count, 1, 1)
    columns = weight.detach().double().unflatten(1, (count, size)).permute(1, 2, 0)
    # The left singular vectors of W_b^T are the eigenvectors of its Gram matrix, here by falling eigenvalue.
    vectors = torch.linalg.eigh(columns @ columns.mT).eigenvectors.flip(-1)
    # An eigenvector has no sign of its own.
    peaks = vectors.gather(-2, vectors.abs().argmax(-2, keepdim=True))
    vectors = vectors * peaks.sign()
    return vectors @ hadamard(size) if kind == "svd_hadamard" else vectors


def output_blocks(weight: torch.Tensor, size: int) -> torch.Tensor:
    """float64[O / size, size, size] for a weight float[O, I]: the left singular vectors of each block of rows.

    The layer computes U z and the restored output is U^T z. U, not its transpose, multiplies the rows as in the
    released code; it mixes them, and mixing is what it is for.
    """
    return input_blocks(weight.t(), size, "svd")


def dealt(weight: torch.Tensor, size: int, kind: Permutation) -> torch.Tensor | None:
    """int32[I]: which input channel of a weight float[O, I] comes where, for blocks of `size`; None for no change."""
    if kind == "none" or size == 1:
        return None
    falling = weight.detach().double().square().mean(dim=0).argsort(descending=True, stable=True)
    count = len(falling) // size
    if kind == "zigzag":
        half = (len(falling) + 1) // 2
        order = torch.empty_like(falling)
        order[::2], order[1::2] = falling[:half], falling[half:].flip(0)
    else:
        rounds = falling.unflatten(0, (size, count)).clone()
        rounds[1::2] = rounds[1::2].flip(1)
        order = rounds.t().flatten()
    return order.int()


def turned(x: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """float[M, I]: each block of channels of x float[M, I] times its own of `blocks` [n, b, b]."""
    parts = x.unflatten(1, blocks.shape[:2]).transpose(0, 1)
    return torch.bmm(parts, blocks.to(x.dtype)).transpose(0, 1).flatten(1)


def moved_in(weight: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """float64[O, I]: the weight that gives for `turned(x, blocks)` what `weight` gives for x."""
    columns = weight.double().unflatten(1, blocks.shape[:2]).permute(1, 2, 0)
    return torch.linalg.solve(blocks.double(), columns).permute(2, 0, 1).flatten(1)


def moved_out(rows: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """float64[O, ..]: rows of a weight, or a bias, whose product becomes that of `rows` when `turned` by `blocks`."""
    parts = rows.double().reshape(*blocks.shape[:2], -1)
    return torch.linalg.solve(blocks.double().mT, parts).reshape(rows.shape)
