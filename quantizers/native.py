"""Compile `mixed.c` on first use, and call it.

The backend `cpu` spends half of its time in a dozen small tensor operations around one int8 product. `mixed.c` does the
same in a few calls with the same bits in the result. It needs a C compiler; where there is none, `why_unavailable` says
so. The library lies in a folder of the user's own below the system's folder for temporary files: code is loaded from
there, so the folder is refused if anybody else could write to it.

Speed over a float32 Linear with the same shape, all rows at 4 bits, one thread of an AMD EPYC with AVX512-VNNI, torch
2.13 (the machine was shared; take differences below 15 % as noise):

    inputs -> outputs     1 token       60 tokens     128 tokens
                        cpu  mixed     cpu  mixed     cpu  mixed
     384 -> 384         0.2   0.4      1.7   3.2      2.5   4.7
     384 -> 1024        0.7   1.4      2.7   4.8      3.6   5.8
    1024 -> 384         0.7   1.1      2.4   5.0      3.6   6.1
     768 -> 192         0.2   0.4      1.6   3.5      2.4   4.5
    4096 -> 1024        1.6   3.1      3.5   4.5      4.8   5.8

A layer of 256 thousand weights or less with a single token is faster in float32: a call costs about 20 microseconds.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from quantizers.grids import CODE_BITS
from quantizers.integer import ACTIVATION_LIMITS

_SOURCE = Path(__file__).with_name("mixed.c")
_COMPILERS = ("gcc", "cc", "clang")
# No contraction: a fused multiply-add rounds once where the reference rounds twice.
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_SIGNATURES = {
    "quantize_tokens": "piiipp",
    "unpack_rows": "pipipipipiip",
    "rescale": "piiipippppppp",
    "place_rows": "piipiippp",
}
"""Arguments of each function: p is a pointer, i an int64."""


class NoCompiler(RuntimeError):
    """There is no C compiler, it does not compile `mixed.c`, or there is no safe place for the result."""


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
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise NoCompiler(f"no C compiler found (looked for {', '.join(_COMPILERS)}); install one, or use backend 'cpu'")
    target = _private_folder() / f"mixed-{_fingerprint(compiler)}.so"
    if not target.exists():
        _compile(compiler, target)
    library = ctypes.CDLL(str(target))
    for name, kinds in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype = None
        function.argtypes = [ctypes.c_void_p if kind == "p" else ctypes.c_int64 for kind in kinds]
    return library


def _compile(compiler: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        command = [compiler, *_FLAGS, "-o", str(made), str(_SOURCE), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise NoCompiler(f"{' '.join(command)} failed with status {result.returncode}: {result.stderr.strip()}")
        # Another process may compile at the same time; whoever comes last replaces an equal file.
        os.replace(made, target)


def _private_folder() -> Path:
    """Where compiled code is kept: made for this user alone, and refused unless it still is."""
    folder = Path(tempfile.gettempdir()) / f"qvla-bench-native-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise NoCompiler(f"no folder for compiled code: {error}; set TMPDIR to one that you may write to") from error
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    if not private:
        raise NoCompiler(
            f"{folder} is not a folder that belongs to user {os.getuid()} alone (mode {stat.filemode(status.st_mode)}, "
            f"owner {status.st_uid}), so code from it cannot be trusted; remove it, or set TMPDIR to another folder"
        )
    return folder


def _fingerprint(compiler: str) -> str:
    """Source, flags, compiler and processor: code for one processor must not run on another that shares the cache."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else [platform.processor()]
    features = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])
    parts = (_SOURCE.read_text(), " ".join(_FLAGS), version, platform.machine(), features)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
