"""Backend `cuda`: a low-bit Linear on tensor cores, by the kernels of `quantizers.triton_kernels`.

A layer takes it when it is moved to a CUDA device, if it multiplies integers at all. W8A8, W4A8 and W4A4 run on int8
tensor cores; 4-bit codes fit int8, and not every device multiplies 4-bit integers. What cannot run here is computed by
`reference` on the device, which the layer's `backend` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from math import gcd

import torch

from quantizers.grids import CODE_BITS
from quantizers.integer import ACTIVATION_LIMITS
from quantizers.packing import row_bytes

LEAST_CAPABILITY = (8, 0)
"""Ampere: int8 tensor cores that Triton uses."""
LEAST_BYTES = 32
"""Bytes of a row that a step takes at least: the depth of an int8 product on tensor cores."""


@dataclass(frozen=True)
class Tiling:
    """What one program computes. It decides about speed alone: integer sums are exact in any order."""

    tokens: int
    """Tokens; a power of 2, 16 or more."""
    rows: int
    """Stored rows; a power of 2, 16 or more."""
    bytes: int
    """Bytes of a packed row per step; a power of 2, 32 or more."""
    warps: int = 4
    """Warps of 32 threads."""
    stages: int = 3
    """Steps whose loads are under way at the same time."""


TILINGS = (Tiling(16, 32, 128), Tiling(32, 64, 128), Tiling(64, 64, 128), Tiling(128, 128, 64, 8))
"""From few tokens to many. Chosen by reasoning, not by measurement; `make bench-quant ARGS=--cuda` tries each."""


def tiling_for(tokens: int) -> Tiling:
    """The first of `TILINGS` that holds all tokens, or the last."""
    return next((tiling for tiling in TILINGS if tokens <= tiling.tokens), TILINGS[-1])


@cache
def why_unavailable() -> str | None:
    """None if kernels run on the CUDA device of this machine (or in Triton's interpreter), else the reason."""
    if find_spec("triton") is None:
        return "Triton is not installed; install qvla-bench[cuda]"
    from triton import knobs

    if knobs.runtime.interpret:
        return None
    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} sees no CUDA device"
    capability = torch.cuda.get_device_capability()
    if capability < LEAST_CAPABILITY:
        return f"the device has compute capability {capability}, the kernels need {LEAST_CAPABILITY}"
    return None


def why_not(
    buffers: Mapping[str, torch.Tensor | None], inputs: int, group_size: int | None, activation_bits: int | None
) -> str | None:
    """Why a layer with these buffers (`quantizers.linear.QuantLinear`) is left to `reference`, None if it is not."""
    if activation_bits is None:
        return "activations are not quantized, so there is no integer product"
    static = buffers.get("static_scale")
    if static is not None and static.shape[1] > 1:
        return "activation scales per input channel cannot leave an integer product"
    if group_size is not None and _step(buffers, inputs, group_size, LEAST_BYTES) < LEAST_BYTES:
        return f"groups of {group_size} of {inputs} inputs do not fall into blocks of {LEAST_BYTES} bytes or more"
    return why_unavailable()


class Layer:
    """The tables of one layer, on its device, and calls of the kernels."""

    def __init__(
        self, buffers: Mapping[str, torch.Tensor | None], inputs: int, outputs: int, group_size: int | None
    ) -> None:
        """`buffers` are those of `quantizers.linear.QuantLinear`, for which `why_not` has no objection."""
        self._buffers, self._inputs, self._outputs, self._group_size = dict(buffers), inputs, outputs, group_size
        blocks = {width: buffers[f"codes{width}"] for width in CODE_BITS} | {16: buffers["rows16"]}
        self._rows = {width: len(block) for width, block in blocks.items() if block is not None}
        self._rows[0] = outputs - sum(self._rows.values())
        self._device = next(buffer.device for buffer in buffers.values() if buffer is not None)
        self._nothing = torch.zeros(1, dtype=torch.int32, device=self._device)
        positions = buffers["positions"]
        if positions is None:
            self._targets = torch.arange(outputs, dtype=torch.int32, device=self._device)
        else:
            # Pruned outputs point one behind the last stored row, so they come last.
            self._targets = positions.argsort(stable=True).to(torch.int32)
        self._tiles: dict[int, torch.Tensor] = {}

    def made_of(self, buffers: Mapping[str, torch.Tensor | None]) -> bool:
        """Whether these are the very tensors that it holds."""
        return all(map(lambda own, other: own is other, self._buffers.values(), buffers.values()))

    def held_bytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.nbytes for table in (self._nothing, self._targets, *self._tiles.values()))

    def __call__(
        self,
        tokens: torch.Tensor,
        activation_bits: int,
        static: torch.Tensor | None = None,
        tiling: Tiling | None = None,
    ) -> torch.Tensor:
        """[M, O] of tokens [M, I], both of one floating type; on scales `static` float32[1 or M, 1], if any."""
        y = torch.empty(len(tokens), self._outputs, dtype=tokens.dtype, device=self._device)
        self._launch(tokens, activation_bits, static, tiling or tiling_for(len(tokens)), y, None)
        return y

    def accumulators(self, tokens: torch.Tensor, activation_bits: int, static: torch.Tensor | None) -> torch.Tensor:
        """int32[G, M, R], as `quantizers.linear.QuantLinear.accumulators`, as the kernel computes them."""
        scale = self._buffers["scale"]
        raw = torch.zeros(scale.shape[1], len(tokens), len(scale), dtype=torch.int32, device=self._device)
        y = torch.empty(len(tokens), self._outputs, dtype=tokens.dtype, device=self._device)
        self._launch(tokens, activation_bits, static, tiling_for(len(tokens)), y, raw)
        return raw

    def _launch(self, tokens, activation_bits, static, tiling, y, raw) -> None:
        from quantizers import triton_kernels

        count = len(tokens)
        if count == 0:
            return
        tokens = tokens.contiguous()
        codes, scales = self._quantized(tokens, activation_bits, static)
        own = self._buffers
        grid = (-(-count // tiling.tokens), len(self._table(tiling.rows)))
        groups = 1 if own["scale"] is None else own["scale"].shape[1]
        step = tiling.bytes if groups == 1 else _step(own, self._inputs, self._group_size, tiling.bytes)
        parts = [own[name] if own[name] is not None else self._nothing
                 for name in ("codes2", "codes3", "codes4", "codes8", "rows16", "scale", "zero", "bias")]
        triton_kernels.linear[grid](
            codes, scales, tokens, tokens.stride(0), *parts, self._table(tiling.rows), self._targets, y,
            self._nothing if raw is None else raw,
            count, self._inputs, self._outputs, 0 if own["scale"] is None else len(own["scale"]), groups,
            self._inputs // groups,
            *(width in self._rows for width in (*CODE_BITS, 16)),
            GROUPED=groups > 1, ZERO=own["zero"] is not None, BIAS=own["bias"] is not None, RAW=raw is not None,
            # The numbers of both half-precision types are numbers of TF32 too, so that their products are exact in it.
            PRECISION="ieee" if tokens.dtype == torch.float32 else "tf32",
            BM=tiling.tokens, BN=tiling.rows, BK=step, num_warps=tiling.warps, num_stages=tiling.stages)

    def _quantized(
        self, tokens: torch.Tensor, activation_bits: int, static: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from quantizers import triton_kernels

        count = len(tokens)
        codes = torch.empty(count, self._inputs, dtype=torch.int8, device=self._device)
        scales = torch.empty(count, dtype=torch.float32, device=self._device)
        given = self._nothing if static is None else static.expand(count, 1).contiguous()
        block = 1 << (self._inputs - 1).bit_length()
        triton_kernels.quantize_tokens[(count,)](
            tokens, given, tokens.stride(0), codes, scales, self._inputs,
            LIMIT=ACTIVATION_LIMITS[activation_bits], STATIC=static is not None, BLOCK=block,
            num_warps=min(8, max(1, block // 256)))
        return codes, scales

    def _table(self, rows: int) -> torch.Tensor:
        """int32[T, 4] for tiles of so many rows."""
        if rows not in self._tiles:
            entries, stored = [], 0
            for width in (*CODE_BITS, 16, 0):
                count = self._rows.get(width, 0)
                entries += [(width, first, stored + first, min(rows, count - first)) for first in range(0, count, rows)]
                stored += count
            self._tiles[rows] = torch.tensor(entries, dtype=torch.int32, device=self._device)
        return self._tiles[rows]


def _step(buffers: Mapping[str, torch.Tensor | None], inputs: int, group_size: int, most: int) -> int:
    """The greatest power of 2 that divides the group and the rows of every width, so that no step crosses a group."""
    found = group_size
    for width in CODE_BITS:
        # Codes of 3 bits are taken by columns, the others by bytes.
        if buffers.get(f"codes{width}") is not None and width != 3:
            found = gcd(found, row_bytes(inputs, width))
    return min(found & -found, most)
