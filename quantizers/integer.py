"""Integer products of 8-bit activations and low-bit weights, as a CPU runs them.

Activations of 4 bits run through the same product, since no CPU multiplies 4-bit numbers: the same result, at the speed
of 8 bits.

Each token (a row of the input) gets its own scale, so what a token yields never depends on its batch. The int32
accumulators are exact; everything after them is float32 in one fixed order. Weights are unpacked to int8 on each call
into a buffer that is freed again: measured, the unpacking costs less than a tenth of the float32 product from 60 tokens
on, and a lasting int8 copy would take twice (4 bits) or four times (2 bits) the memory of the packed codes.
"""

from __future__ import annotations

import torch

from quantizers.compiling import processor_features

ACTIVATION_LIMITS = {4: 7, 8: 127}
"""Width -> largest magnitude of an activation code; the lowest code stays unused to keep the grid symmetric."""


def quantize_tokens(x: torch.Tensor, bits: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes int8[M, I] of `bits` bits and scales float32[M, 1] of activations float32[M, I], symmetric, per token.

    A token of zeros gets scale 0. NaN and infinite inputs give a scale that is not finite, so that the output shows it.
    """
    largest = x.abs().amax(dim=1, keepdim=True)
    # `limit / largest` with a plain number would multiply by a rounded reciprocal.
    limit = ACTIVATION_LIMITS[bits]
    inverse = torch.full_like(largest, limit) / largest
    inverse = torch.where(largest == 0, torch.zeros_like(inverse), inverse)
    # The smallest floats have an infinite inverse; such a token is zero for all purposes.
    inverse = torch.where(torch.isinf(inverse), torch.zeros_like(inverse), inverse)
    codes = (x * inverse).round_().to(torch.int8)
    return codes, largest / limit


def fake_quantize_tokens(x: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """float32[M, I]: the values that the codes of `quantize_tokens` stand for."""
    codes, scale = quantize_tokens(x, bits)
    return codes.float() * scale


def accumulate(x_codes: torch.Tensor, w_codes: torch.Tensor, groups: int) -> torch.Tensor:
    """int32[G, M, R], exact: per group of inputs, the products of int8[M, I] activations and int8[R, I] weights."""
    if groups == 1:
        return _product(x_codes, w_codes).unsqueeze(0)
    size = x_codes.shape[1] // groups
    pieces = zip(x_codes.split(size, dim=1), w_codes.split(size, dim=1), strict=True)
    return torch.stack([_product(a.contiguous(), b.contiguous()) for a, b in pieces])


def code_sums(x_codes: torch.Tensor, groups: int) -> torch.Tensor:
    """int32[G, M]: the sum of each token's codes int8[M, I] over each group of inputs."""
    return x_codes.reshape(len(x_codes), groups, -1).sum(dim=2, dtype=torch.int32).t().contiguous()


def without_zeros(accumulators: torch.Tensor, x_codes: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """int32[G, M, R], exact: accumulators of codes turned into those of codes less their zero points int8[R, G]."""
    sums = code_sums(x_codes, zero.shape[1])
    return accumulators.sub_(sums.unsqueeze(2) * zero.t().int().unsqueeze(1))


def rescale(accumulators: torch.Tensor, w_scale: torch.Tensor, x_scale: torch.Tensor) -> torch.Tensor:
    """float32[M, R] of accumulators int32[G, M, R], weight scales float32[R, G] and token scales float32[M, 1]."""
    total = accumulators[0].float().mul_(w_scale[:, 0])
    for group in range(1, accumulators.shape[0]):
        total.add_(accumulators[group].float().mul_(w_scale[:, group]))
    return total.mul_(x_scale)


def _product(x_codes: torch.Tensor, w_codes: torch.Tensor) -> torch.Tensor:
    # With a single input the strides of the transposed weight are ambiguous, and torch 2.13 reads the wrong memory.
    if x_codes.shape[1] == 1:
        return x_codes.int() * w_codes.int().t()
    # Elsewhere torch's integer product is a plain loop: 15 to 30 times as slow as its float32 product, on a Zen 3.
    if x_codes.is_cuda or "avx512_vnni" in processor_features().split():
        return torch._int_mm(x_codes, w_codes.t())
    return float_product(x_codes, w_codes)


def float_product(x_codes: torch.Tensor, w_codes: torch.Tensor) -> torch.Tensor:
    """int32[M, R], exact, of int8[M, I] and int8[R, I] by torch's float32 product.

    Products of int8 are at most 2^14, so sums of 1024 of them are integers that float32 has, in whatever order they are
    added; so they are when the product reads its factors as bfloat16 or TF32, which have all int8.
    """
    pieces = zip(x_codes.split(1024, dim=1), w_codes.split(1024, dim=1), strict=True)
    total, *rest = ((a.float() @ b.float().t()).int() for a, b in pieces)
    for part in rest:
        total += part
    return total
