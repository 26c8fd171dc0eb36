"""What the buffers of a packed layer must be like. Compiled steps follow them without looking, so a file is checked."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from quantizers.around import AROUND, check_around
from quantizers.grids import CODE_BITS
from quantizers.packing import row_bytes

BUFFERS = ("bias", *(f"codes{width}" for width in CODE_BITS), "scale", "zero", "rows16", "positions", *AROUND)
"""Names of the buffers of `quantizers.linear.QuantLinear`; each may be absent."""


def check_buffers(buffers: Mapping[str, torch.Tensor], inputs: int, outputs: int, group_size: int | None) -> None:
    """Raise ValueError unless `buffers` are those of a layer with these sizes.

    `codesN` are uint8[R_N, row_bytes(I, N)], `scale` float32[R, G] and `zero` int8[R, G] are over all coded rows,
    `rows16` is float16[H, I], `bias` float32[O], and `positions` int32[O] names each stored row once and one
    behind the last for pruned channels; `quantizers.around.Around` has the others.
    """
    for name in buffers:
        if name not in BUFFERS:
            raise ValueError(f"unexpected buffer {name!r}; legal names are {', '.join(BUFFERS)}")
    coded = 0
    for width in CODE_BITS:
        coded += _rows(buffers, f"codes{width}", torch.uint8, row_bytes(inputs, width))
    groups = 1 if group_size is None else _groups(inputs, group_size)
    if _rows(buffers, "scale", torch.float32, groups) != coded:
        raise ValueError(f"there are {coded} coded rows and another number of rows of scales")
    if coded and not torch.isfinite(buffers["scale"]).all():
        raise ValueError("a scale is NaN or infinite")
    if "zero" in buffers:
        _check_kind("zero", buffers["zero"], torch.int8, (coded, groups))
    check_around(buffers, inputs, outputs)
    stored = coded + _rows(buffers, "rows16", torch.float16, inputs)
    if "bias" in buffers:
        _check_kind("bias", buffers["bias"], torch.float32, (outputs,))
    _check_positions(buffers.get("positions"), stored, outputs)


def stored_positions(bits: torch.Tensor) -> torch.Tensor | None:
    """int32[O]: where each channel's row is among the stored ones; a pruned channel points one behind the last."""
    order = torch.cat([(bits == width).nonzero().flatten() for width in (*CODE_BITS, 16)])
    if torch.equal(order, torch.arange(len(bits))):
        return None
    positions = torch.full((len(bits),), len(order), dtype=torch.int32)
    positions[order] = torch.arange(len(order), dtype=torch.int32)
    return positions


def _groups(inputs: int, group_size: int) -> int:
    if type(group_size) is not int or group_size < 1 or inputs % group_size:
        raise ValueError(f"group size {group_size} does not divide the {inputs} inputs of the layer")
    return inputs // group_size


def _rows(buffers: Mapping[str, torch.Tensor], name: str, dtype: torch.dtype, columns: int) -> int:
    """Rows of a block, 0 if it is absent."""
    if name not in buffers:
        return 0
    block = buffers[name]
    rows = max(1, block.shape[0]) if block.ndim else 1
    _check_kind(name, block, dtype, (rows, columns))
    return rows


def _check_kind(name: str, tensor: torch.Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if tensor.dtype != dtype or tuple(tensor.shape) != shape:
        raise ValueError(f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}; it must be {dtype} of {shape}")


def _check_positions(positions: torch.Tensor | None, stored: int, outputs: int) -> None:
    if positions is None:
        if stored != outputs:
            raise ValueError(f"{stored} stored rows need a table of positions to serve {outputs} outputs")
        return
    _check_kind("positions", positions, torch.int32, (outputs,))
    if positions.numel() and (positions.min() < 0 or positions.max() > stored):
        raise ValueError(
            f"positions {int(positions.min())} .. {int(positions.max())} leave the legal range 0 .. {stored}"
        )
    if (torch.bincount(positions, minlength=stored + 1)[:stored] != 1).any():
        raise ValueError(f"positions must name each of the {stored} stored rows exactly once")
