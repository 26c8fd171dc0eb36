"""Which ways there are to multiply, and what each of them can do."""

from __future__ import annotations

from typing import Literal, get_args

from quantizers import cuda, integer, native

Backend = Literal["reference", "cpu", "mixed", "cuda"]
"""`reference` dequantizes and multiplies in float32; `cpu` and `mixed` multiply integers, with equal results: `cpu` by
tensor operations, `mixed` in one compiled call where the processor has AVX2 or AVX512-VNNI, else with compiled steps
around torch's product. `cuda` is what a layer that multiplies integers becomes on a CUDA device; its integers are equal
too, its floats but for their last bits."""
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def check_backend(backend: str, activation_bits: int | None) -> None:
    """Raise ValueError unless a layer with these activations can run on `backend` here."""
    if activation_bits not in (None, *integer.ACTIVATION_LIMITS):
        legal = ", ".join(map(str, integer.ACTIVATION_LIMITS))
        raise ValueError(f"activation_bits is {activation_bits}; legal values are {legal} and None")
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; legal values are {', '.join(BACKENDS)}")
    if backend != "reference" and activation_bits is None:
        raise ValueError(
            f"backend {backend!r} multiplies integers and needs activation_bits=4 or 8; use 'reference' without"
        )
    reason = {"mixed": native.why_unavailable, "cuda": cuda.why_unavailable}.get(backend, lambda: None)()
    if reason is not None:
        raise ValueError(f"backend {backend!r} cannot be used here: {reason}")
