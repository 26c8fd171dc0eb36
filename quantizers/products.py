"""What each backend makes of the tokens of a packed layer: float32[M, O] of tokens float32[M, I] that entered it.

`static` are scales float32[1 or M, 1 or I] that the layer found beforehand, None for one per token. Bias included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from quantizers import integer, kernel, native
from quantizers.around import shown_scale, static_codes
from quantizers.backends import Backend
from quantizers.grids import CODE_BITS
from quantizers.packing import unpack

if TYPE_CHECKING:
    from quantizers.linear import QuantLinear

Product = Callable[["QuantLinear", torch.Tensor, torch.Tensor | None], torch.Tensor]


def reference(layer: QuantLinear, tokens: torch.Tensor, static: torch.Tensor | None) -> torch.Tensor:
    """Dequantize and multiply in float32: what the others are measured by."""
    weight = layer.dequantized_weight()
    if layer.activation_bits is None:
        return F.linear(tokens, weight, layer.bias)
    if static is None:
        values = integer.fake_quantize_tokens(tokens, layer.activation_bits)
    else:
        values = static_codes(tokens, static, layer.activation_bits).float() * shown_scale(tokens, static)
    y = F.linear(values, weight, layer.bias)
    if layer.rows16 is not None:
        kept = layer.channel_bits() == 16
        y[:, kept] = F.linear(tokens, weight[kept], None if layer.bias is None else layer.bias[kept])
    return y


def by_tensors(layer: QuantLinear, tokens: torch.Tensor, static: torch.Tensor | None) -> torch.Tensor:
    """Integers, by tensor operations."""
    parts = []
    if layer.scale is not None:
        codes, scale = layer.codes_of(tokens, static)
        products = integer.accumulate(codes, layer.integer_rows(), layer.scale.shape[1])
        if layer.zero is not None:
            products = integer.without_zeros(products, codes, layer.zero)
        parts.append(integer.rescale(products, layer.scale, scale))
    if layer.rows16 is not None:
        parts.append(F.linear(tokens, layer.rows16.float()))
    if layer.positions is not None or not parts:
        parts.append(torch.zeros(len(tokens), 1, device=tokens.device))
    y = layer.restored(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), dim=1)
    return y if layer.bias is None else y.add_(layer.bias)


def compiled(layer: QuantLinear, tokens: torch.Tensor, static: torch.Tensor | None) -> torch.Tensor:
    """Integers, in one compiled call, or in compiled steps around torch's product where that cannot be."""
    # From the table: looked up one by one as attributes they would cost a small layer a tenth of its time.
    buffers = layer._buffers
    scale, rows16 = buffers["scale"], buffers["rows16"]
    if scale is None:
        return by_tensors(layer, tokens, static)
    if layer.call is None or not layer.call.made_of(buffers):
        stepwise = kernel.why_not(layer.in_features, scale.shape[1]) is not None
        layer.call = None if stepwise else kernel.Call(buffers, layer.in_features, layer.out_features)
    y = _in_steps(layer, tokens, static) if layer.call is None else layer.call(tokens, layer.activation_bits, static)
    if rows16 is not None:
        native.place_rows(F.linear(tokens, rows16.float()), layer.positions, len(scale), layer.bias, y)
    return y


def on_device(layer: QuantLinear, tokens: torch.Tensor, static: torch.Tensor | None) -> torch.Tensor:
    """Integers, by the kernels of `quantizers.cuda`; tokens may be of half precision, and so is the result then."""
    return layer.tables()(tokens, layer.activation_bits, static)


def _in_steps(layer: QuantLinear, tokens: torch.Tensor, static: torch.Tensor | None) -> torch.Tensor:
    codes, x_scale = layer.codes_of(tokens, static, native.quantize_tokens)
    if layer.positions is None and len(layer.codes8 if layer.codes8 is not None else ()) == layer.out_features:
        rows = unpack(layer.codes8, 8, layer.in_features)
    else:
        # Rows are unpacked to their own places, so that the product comes out in order. Those without codes are
        # zeros there: cheaper than a permutation of the product unless most of the layer is pruned.
        blocks = {width: getattr(layer, f"codes{width}") for width in CODE_BITS}
        rows = native.unpack_rows(blocks, layer.positions, layer.out_features, layer.in_features)
    products = integer.accumulate(codes, rows, layer.scale.shape[1])
    x_sums = None if layer.zero is None else integer.code_sums(codes, layer.zero.shape[1])
    return native.rescale(products, layer.scale, layer.positions, x_scale, layer.bias, layer.zero, x_sums)


PRODUCTS: dict[Backend, Product] = {"reference": reference, "cpu": by_tensors, "mixed": compiled, "cuda": on_device}
