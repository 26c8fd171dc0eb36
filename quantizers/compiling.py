"""Compile one C source of this package on first use, and load it.

The library lies in a folder of the user's own below the system's folder for temporary files: code is loaded from there,
so the folder is refused if anybody else could write to it. Its name holds source, headers, flags, compiler and
processor, so that what was compiled for one processor never runs on another.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_COMPILERS = ("gcc", "cc", "clang")
# No contraction: a fused multiply-add rounds once where the reference rounds twice.
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC")
_OPENMP = "-fopenmp"


class NoCompiler(RuntimeError):
    """There is no C compiler, it does not compile the source, or there is no safe place for the result."""


def load(source: Path, signatures: Mapping[str, str], openmp: bool = False) -> ctypes.CDLL:
    """The library of a C source. `signatures` has the arguments of each function: p is a pointer, i an int64.

    Functions return an int64, for those that say something. With `openmp` it has threads where the compiler and torch
    use the same OpenMP library, and none elsewhere. Raises NoCompiler.
    """
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise NoCompiler(f"no C compiler found (looked for {', '.join(_COMPILERS)}); install one, or use backend 'cpu'")
    library = _threaded(compiler, source) if openmp else None
    library = library or ctypes.CDLL(str(_built(compiler, source, _FLAGS)))
    for name, kinds in signatures.items():
        function = getattr(library, name)
        function.restype = ctypes.c_int64
        function.argtypes = [ctypes.c_void_p if kind == "p" else ctypes.c_int64 for kind in kinds]
    return library


def _threaded(compiler: str, source: Path) -> ctypes.CDLL | None:
    """The library with threads, None if this compiler's OpenMP is not the one that is loaded."""
    maps = Path("/proc/self/maps")
    found = re.findall(r"/\S*lib[gi]omp\S*\.so\S*", maps.read_text()) if maps.exists() else []
    if not found:
        return None
    ctypes.CDLL(max(found, key=lambda path: "/torch/" in path), mode=ctypes.RTLD_GLOBAL)
    try:
        return ctypes.CDLL(str(_built(compiler, source, (*_FLAGS, _OPENMP))))
    except (NoCompiler, OSError):
        # It has no OpenMP, or calls functions of another one than the loaded; without threads it works all the same.
        return None


def _built(compiler: str, source: Path, flags: tuple[str, ...]) -> Path:
    target = _private_folder() / f"{source.stem}-{_fingerprint(compiler, source, flags)}.so"
    if not target.exists():
        _compile(compiler, source, flags, target)
    return target


def _compile(compiler: str, source: Path, flags: tuple[str, ...], target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made, part = Path(folder) / target.name, Path(folder) / "part.o"
        # Linked without OpenMP: its functions come from the library that torch has in memory. A second one would bring
        # threads of its own, which wait for work by spinning on the cores that torch's threads want.
        for command in ([compiler, *flags, "-c", "-o", str(part), str(source)],
                        [compiler, "-shared", "-o", str(made), str(part), "-lm"]):
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


@cache
def processor_features() -> str:
    """What the processor says that it can do, as the system lists it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else [platform.processor()]
    return next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])


def _fingerprint(compiler: str, source: Path, flags: tuple[str, ...]) -> str:
    texts = [path.read_text() for path in (source, *sorted(source.parent.glob("*.h")))]
    parts = (*texts, " ".join(flags), _version(compiler), platform.machine(), processor_features())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
