"""Codes of 2, 3, 4 and 8 bits in bytes, without a gap.

A row of n codes of b bits takes `row_bytes(n, b)` bytes. Byte k of a row holds the codes of columns k, k + B, k + 2B ..
(B bytes in the row), lowest bits first, so that unpacking writes runs of neighbouring columns and needs no shuffle.
Codes of 3 bits are a row of their lower 2 bits and behind it, packed in the same way, a row of their highest bits.
Codes below 8 bits are stored with an offset (code - lowest code), codes of 8 bits as they are.
"""

from __future__ import annotations

import torch

from quantizers.grids import code_range


def row_bytes(columns: int, bits: int) -> int:
    """Bytes that a row of `columns` weights takes at a width of 0, 2, 3, 4, 8 or 16 bits, without its scale."""
    return sum(-(-columns * part // 8) for part in _parts(bits))


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """uint8[O, row_bytes(I, bits)] of codes int8[O, I]. Raises ValueError for a code outside the range of `bits`."""
    low, high = code_range(bits)
    if codes.numel() and (codes.min() < low or codes.max() > high):
        raise ValueError(
            f"codes {int(codes.min())} .. {int(codes.max())} do not fit {bits} bits; the legal range is {low} .. {high}"
        )
    if bits == 8:
        return codes.to(torch.int8).clone(memory_format=torch.contiguous_format).view(torch.uint8)
    shifted = (codes.to(torch.int16) - low).to(torch.uint8)
    if bits == 3:
        return torch.cat([_pack_planes(shifted & 3, 2), _pack_planes(shifted >> 2, 1)], dim=1)
    return _pack_planes(shifted, bits)


def unpack(packed: torch.Tensor, bits: int, columns: int, out: torch.Tensor | None = None) -> torch.Tensor:
    """Codes int8[O, columns] of bytes uint8[O, row_bytes(columns, bits)], written to `out` if one is given."""
    if packed.shape[1] != row_bytes(columns, bits):
        raise ValueError(
            f"a row of {columns} codes of {bits} bits takes {row_bytes(columns, bits)} bytes, not {packed.shape[1]}"
        )
    if bits == 8:
        codes = packed.view(torch.int8)
        return codes if out is None else out.copy_(codes)
    if out is None:
        out = torch.empty(packed.shape[0], columns, dtype=torch.int8, device=packed.device)
    unsigned = out.view(torch.uint8)
    if bits == 3:
        lower, upper = packed.split([row_bytes(columns, 2), row_bytes(columns, 1)], dim=1)
        _unpack_planes(lower, 2, unsigned)
        unsigned.bitwise_or_(_unpack_planes(upper, 1, torch.empty_like(unsigned)).bitwise_left_shift_(2))
    else:
        _unpack_planes(packed, bits, unsigned)
    return out.add_(code_range(bits)[0])


def _parts(bits: int) -> tuple[int, ...]:
    """Widths that divide a byte and add up to `bits`."""
    return (2, 1) if bits == 3 else (bits,)


def _pack_planes(values: torch.Tensor, bits: int) -> torch.Tensor:
    """uint8[O, B] of values uint8[O, I] of 1, 2 or 4 bits."""
    width = row_bytes(values.shape[1], bits)
    packed = torch.zeros(values.shape[0], width, dtype=torch.uint8)
    for plane in range(8 // bits):
        part = values[:, plane * width : (plane + 1) * width]
        packed[:, : part.shape[1]] |= part << (plane * bits)
    return packed


def _unpack_planes(packed: torch.Tensor, bits: int, out: torch.Tensor) -> torch.Tensor:
    """`out` uint8[O, I], filled with the values of 1, 2 or 4 bits."""
    width, mask = packed.shape[1], (1 << bits) - 1
    for plane in range(8 // bits):
        target = out[:, plane * width : (plane + 1) * width]
        torch.bitwise_right_shift(packed[:, : target.shape[1]], plane * bits, out=target)
        if plane < 8 // bits - 1:
            target.bitwise_and_(mask)
    return out
