"""A whole low-bit Linear in one call of `vnni.c`, on processors with AVX512-VNNI.

What the steps of `native` and torch's integer product do in a handful of calls, and with more than one thread. All bits
of the result are those of backend `cpu`. Speed over the better of torch's float32 Linear and one packed for oneDNN,
1024 inputs and 4096 outputs, on two cores of an AMD EPYC of family 25 (take differences below 10 % as noise):

    rows    one thread: 8 bits  4 bits  mixed    two threads: 8 bits  4 bits  mixed
       1                   2.4     3.1    2.8                    2.6     3.7    3.5
      16                   2.5     3.2    3.4                    2.4     3.5    3.7
      64                   3.0     3.2    3.8                    2.8     3.4    3.8
     256                   3.1     3.3    3.8                    2.9     3.1    3.6
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from quantizers.compiling import NoCompiler, load, processor_features
from quantizers.grids import CODE_BITS
from quantizers.integer import ACTIVATION_LIMITS

_SOURCE = Path(__file__).with_name("vnni.c")
_SIGNATURES = {"linear": "pppiiip"}
FEATURE = "avx512_vnni"
"""What the system calls the instructions."""
MOST_INPUTS = 1 << 16
"""Beyond this many inputs an int32 could overflow."""


class _Layer(ctypes.Structure):
    """`Layer` of `vnni.c`."""

    _fields_ = [("codes", ctypes.c_void_p * 4), ("rows", ctypes.c_int64 * 4),
                *((name, ctypes.c_void_p) for name in ("scale", "zero", "positions", "bias")),
                *((name, ctypes.c_int64) for name in ("inputs", "outputs", "groups"))]


@cache
def why_unavailable() -> str | None:
    """None if this machine runs it, else the reason."""
    if FEATURE not in processor_features().split():
        return f"the processor does not have {FEATURE}"
    try:
        _library()
    except NoCompiler as error:
        return str(error)
    return None


def why_not(inputs: int, groups: int) -> str | None:
    """Why a layer of this shape is computed in steps instead, None if it is not."""
    if inputs > MOST_INPUTS:
        return f"a layer has {inputs} inputs; the compiled product adds up {MOST_INPUTS} at most"
    if groups > 1 and inputs // groups % 4:
        return f"groups of {inputs // groups} inputs are not multiples of 4"
    return why_unavailable()


class Call:
    """The arguments that stay the same from call to call.

    It holds the tensors that it was made of, so their memory stays where it is; who replaces one makes another `Call`.
    """

    def __init__(self, buffers: Mapping[str, torch.Tensor | None], inputs: int, outputs: int) -> None:
        """`buffers` are those of `quantizers.linear.QuantLinear`, on the CPU, with at least one coded row."""
        self._held = dict(buffers)
        self._outputs = outputs
        codes = [buffers[f"codes{width}"] for width in CODE_BITS]
        self._layer = _Layer(
            (ctypes.c_void_p * 4)(*map(_pointer, codes)),
            (ctypes.c_int64 * 4)(*(0 if block is None else len(block) for block in codes)),
            *(_pointer(buffers[name]) for name in ("scale", "zero", "positions", "bias")),
            inputs, outputs, buffers["scale"].shape[1])
        self._address = ctypes.addressof(self._layer)
        self._function = _library().linear

    def made_of(self, buffers: Mapping[str, torch.Tensor | None]) -> bool:
        """Whether these are the very tensors that it holds."""
        return all(map(lambda own, other: own is other, self._held.values(), buffers.values()))

    def __call__(self, tokens: torch.Tensor, activation_bits: int, static: torch.Tensor | None) -> torch.Tensor:
        """float32[M, O] of tokens float32[M, I], on scales `static` float32[1 or M, 1] or on ones found for each token.

        Outputs without codes yield their bias.
        """
        tokens = tokens.contiguous()
        if static is not None:
            static = static.expand(len(tokens), 1).contiguous()
        y = torch.empty(len(tokens), self._outputs)
        if self._function(self._address, tokens.data_ptr(), _pointer(static), len(tokens),
                          ACTIVATION_LIMITS[activation_bits], torch.get_num_threads(), y.data_ptr()):
            raise MemoryError(f"no memory to multiply {len(tokens)} tokens by a layer with {self._outputs} outputs")
        return y


def _pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


@cache
def _library() -> ctypes.CDLL:
    return load(_SOURCE, _SIGNATURES, openmp=True)
