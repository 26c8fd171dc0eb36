"""How the buffers of a packed layer lie in a file: in as few bytes as lose nothing.

Scales take two bytes each, for `quantizers.grids` makes them so that float16 holds them, and stay float32 in a layer
where it does not. Rows are stored by width, so of the table of positions only the width of each output needs to be
known, in a byte; it is called `widths`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from quantizers.buffers import stored_positions
from quantizers.grids import CHANNEL_BITS

Buffers = Mapping[str, torch.Tensor | None]
"""Those of `quantizers.linear.QuantLinear` by name."""


def stored(buffers: Buffers, widths: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a file has of a layer whose outputs have `widths` int[O]; the bias is left to the writer."""
    found = {name: buffer for name, buffer in buffers.items() if buffer is not None}
    if found.pop("positions", None) is not None:
        found["widths"] = widths.to(torch.uint8)
    if "scale" in found and fits_half(found["scale"]):
        found["scale"] = found["scale"].half()
    return found


def restored(found: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The buffers of what `stored` returned. Raises ValueError for widths that no output can have."""
    buffers = dict(found)
    if "widths" in buffers:
        widths = buffers.pop("widths")
        strange = sorted(set(widths.flatten().tolist()) - set(CHANNEL_BITS))
        if "positions" in buffers or widths.dtype != torch.uint8 or widths.ndim != 1 or strange:
            raise ValueError(f"widths are {widths.dtype} of shape {tuple(widths.shape)} with the illegal values "
                             f"{strange}; they must be one torch.uint8 for each output, of "
                             f"{', '.join(map(str, CHANNEL_BITS))}, in the place of positions")
        positions = stored_positions(widths)
        buffers |= {} if positions is None else {"positions": positions}
    for name in ("scale", "bias"):
        if name in buffers and buffers[name].dtype == torch.float16:
            buffers[name] = buffers[name].float()
    return buffers


def stored_bytes(buffers: Buffers) -> int:
    """Bytes of these buffers in a file, with a bias as float16."""
    total = 0
    for name, buffer in buffers.items():
        if buffer is not None:
            each = {"positions": 1, "bias": 2, "scale": 2}.get(name, buffer.itemsize)
            total += buffer.numel() * (4 if name == "scale" and not fits_half(buffer) else each)
    return total


def fits_half(scale: torch.Tensor) -> bool:
    """Whether float16 holds every value."""
    return torch.equal(scale.half().to(scale.dtype), scale)
