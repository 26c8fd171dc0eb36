"""The steps around an int8 matrix product, compiled from `mixed.c`: same bits as tensor operations, in fewer calls.

The backend `cpu` spends half of its time in a dozen small tensor operations around one int8 product. Processors with
AVX2 or AVX512-VNNI do a whole layer in one call instead (`quantizers.kernel`). Both need a C compiler; where there is
none, `why_unavailable` says so.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch

from quantizers.compiling import NoCompiler, load
from quantizers.grids import CODE_BITS
from quantizers.integer import ACTIVATION_LIMITS

_SOURCE = Path(__file__).with_name("mixed.c")
_SIGNATURES = {
    "quantize_tokens": "piiipp",
    "unpack_rows": "pipipipipiip",
    "rescale": "piiipippppppp",
    "place_rows": "piipiippp",
}


@cache
def why_unavailable() -> str | None:
    """None if the compiled steps can be used on this machine, else the reason."""
    try:
        _library()
    except NoCompiler as error:
        return str(error)
    return None


def quantize_tokens(x: torch.Tensor, bits: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """As `quantizers.integer.quantize_tokens`."""
    x = x.contiguous()
    tokens, inputs = x.shape
    codes, scale = torch.empty(tokens, inputs, dtype=torch.int8), torch.empty(tokens, 1)
    limit = ACTIVATION_LIMITS[bits]
    _library().quantize_tokens(x.data_ptr(), tokens, inputs, limit, codes.data_ptr(), scale.data_ptr())
    return codes, scale


def unpack_rows(
    codes: dict[int, torch.Tensor | None], positions: torch.Tensor | None, outputs: int, inputs: int
) -> torch.Tensor:
    """int8[O, I] of packed codes by width, in the order of the outputs, with zeros for rows that have no codes."""
    rows = torch.empty(outputs, inputs, dtype=torch.int8)
    blocks = [part for width in CODE_BITS for part in (_pointer(codes[width]), _length(codes[width]))]
    _library().unpack_rows(*blocks, _pointer(positions), outputs, inputs, rows.data_ptr())
    return rows


def rescale(
    sums: torch.Tensor,
    w_scale: torch.Tensor,
    positions: torch.Tensor | None,
    x_scale: torch.Tensor,
    bias: torch.Tensor | None,
    zero: torch.Tensor | None = None,
    x_sums: torch.Tensor | None = None,
) -> torch.Tensor:
    """float32[M, O] of accumulators int32[G, M, O] in the order of the outputs and scales float32[R, G] of stored rows.

    Otherwise as `quantizers.integer.rescale`, with the bias float32[O] added; rows without a scale yield the bias. With
    zero points int8[R, G] and sums of codes int32[G, M], `quantizers.integer.without_zeros` comes first.
    """
    groups, tokens, outputs = sums.shape
    y, ordered = torch.empty(tokens, outputs), torch.empty(outputs, groups)
    scales = (w_scale.data_ptr(), len(w_scale), _pointer(positions), ordered.data_ptr(), x_scale.data_ptr())
    zeros = (_pointer(zero), _pointer(x_sums))
    _library().rescale(sums.data_ptr(), groups, tokens, outputs, *scales, *zeros, _pointer(bias), y.data_ptr())
    return y


def place_rows(
    products: torch.Tensor, positions: torch.Tensor | None, coded: int, bias: torch.Tensor | None, y: torch.Tensor
) -> None:
    """Write products float32[M, H] of the rows stored behind the `coded` ones to their columns of y float32[M, O]."""
    tokens, rows = products.shape
    places = torch.empty(rows, dtype=torch.int32)
    targets = (_pointer(bias), places.data_ptr(), y.data_ptr())
    _library().place_rows(products.data_ptr(), tokens, rows, _pointer(positions), coded, y.shape[1], *targets)


def _pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _length(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else len(tensor)


@cache
def _library() -> ctypes.CDLL:
    return load(_SOURCE, _SIGNATURES)
