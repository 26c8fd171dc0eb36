"""A whole low-bit Linear in one compiled call: `vnni.c` on processors with AVX512-VNNI, `avx2.c` on those with AVX2.

What the steps of `native` and torch's integer product do in a handful of calls, and with more than one thread. All bits
of the result are those of backend `cpu`. Speed over the better of torch's float32 Linear and one packed for oneDNN,
1024 inputs and 4096 outputs, on two cores of an AMD EPYC of family 25 (take differences below 10 % as noise):

    vnni.c
    rows    one thread: 8 bits  4 bits  mixed    two threads: 8 bits  4 bits  mixed
       1                   2.4     3.1    2.8                    2.6     3.7    3.5
      16                   2.5     3.2    3.4                    2.4     3.5    3.7
      64                   3.0     3.2    3.8                    2.8     3.4    3.8
     256                   3.1     3.3    3.8                    2.9     3.1    3.6

    avx2.c, on a processor without AVX-512, the other core at work
      16                   1.3     2.7    2.7
      50                   1.3     2.1    2.1
     256                   1.2     2.1    2.1

Without AVX512-VNNI codes of 8 bits need products of int16, of which AVX2 has twice as many at once as of float32; codes
of at most 4 bits have four times as many.
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

KERNELS = {"avx512_vnni": "vnni.c", "avx2": "avx2.c"}
"""What the system calls the instructions -> the source that uses them, the best first."""
_SIGNATURES = {"linear": "pppiiip"}
MOST_INPUTS = 1 << 16
"""Beyond this many inputs an int32 could overflow."""


class _Layer(ctypes.Structure):
    """`Layer` of `layer.h`."""

    _fields_ = [("codes", ctypes.c_void_p * 4), ("rows", ctypes.c_int64 * 4),
                *((name, ctypes.c_void_p) for name in ("scale", "zero", "positions", "bias")),
                *((name, ctypes.c_int64) for name in ("inputs", "outputs", "groups"))]


def available() -> list[str]:
    """The sources that this processor has the instructions for, the best first."""
    features = processor_features().split()
    return [source for feature, source in KERNELS.items() if feature in features]


@cache
def why_unavailable() -> str | None:
    """None if this machine runs one of them, else the reason."""
    if not available():
        return f"the processor has none of {', '.join(KERNELS)}"
    try:
        library()
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
        self._function = library().linear

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
def library(source: str | None = None) -> ctypes.CDLL:
    """What is made of a source, the best for this processor if None. Raises NoCompiler."""
    return load(Path(__file__).with_name(source or available()[0]), _SIGNATURES, openmp=True)
