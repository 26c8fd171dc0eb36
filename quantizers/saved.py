"""The folder of a saved quantized network: which files it has, and how it appears whole or not at all.

    model.safetensors   packed codes, scales, widths of outputs, 16-bit rows, and everything that was kept
    config.json         where it came from, how each layer is stored, sha256 of the other two files
    audit.json          what was quantized, as measured when it was made

`config.json` names the other files by content, so its own sha256 identifies the folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 2
"""The layout of a folder."""
READ = (1, 2)
"""Layouts that are read; 1 had tables of positions and all scales as float32."""
CONFIG, MODEL, AUDIT = "config.json", "model.safetensors", "audit.json"


class StorageError(ValueError):
    """A folder that cannot be written or read, or that holds another network."""


@dataclass(frozen=True)
class Origin:
    """Where a quantized network came from."""

    policy: str
    """Name of the policy whose network it is."""
    method: str
    """The method as the user typed it."""
    weights: str | None
    """sha256 of the full-precision checkpoint, None for a policy without one."""
    network: Mapping[str, Any]
    """What the policy needs to build the network without a checkpoint, as JSON."""


@dataclass(frozen=True)
class SavedConfig:
    """The content of `config.json`."""

    origin: Origin
    """Where the network came from."""
    quantization_config: Mapping[str, Any]
    """`config` of the method, `layers` by name as they are stored, `kept` tensors by name with their type in memory,
    and `denoiser`, the module whose steps some layers follow, if there are such layers."""
    files: Mapping[str, str]
    """sha256 of every other file of the folder."""
    digest: str
    """sha256 of `config.json` itself, which identifies the folder."""


def write_folder(
    folder: Path, origin: Origin, quantization_config: Mapping[str, Any], files: Mapping[str, Callable[[Path], object]]
) -> None:
    """Let each of `files` write itself to a path, and write the config; all or none.

    Raises StorageError if `folder` is there already and is not an empty folder.
    """
    def config(path: Path) -> None:
        digests = {name: _sha256(path.parent / name) for name in files}
        path.write_bytes(json_bytes({"format": FORMAT, **dataclasses.asdict(origin), "files": digests,
                                     "quantization_config": quantization_config}))

    write_files(folder, {**files, CONFIG: config})


def write_files(folder: Path, files: Mapping[str, Callable[[Path], object]]) -> None:
    """Let each file of a new folder write itself to a path, in order; all or none.

    Raises StorageError if the place is not free.
    """
    require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, not elsewhere: a rename is only atomic within a file system.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as outer:
        draft = Path(outer) / folder.name
        draft.mkdir()
        for name, write in files.items():
            write(draft / name)
            with open(draft / name, "rb") as file:
                os.fsync(file.fileno())
        os.rename(draft, folder)


def require_free(folder: Path) -> None:
    """Raise StorageError unless a new folder can take this place."""
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise StorageError(f"{folder} is there already; name a new folder, or remove it")


def read_config(folder: Path) -> SavedConfig:
    """What `config.json` says. Raises StorageError naming what is missing or wrong; other files are not read."""
    path = folder / CONFIG
    if not path.is_file():
        raise StorageError(f"{folder} is no saved quantized network: it has no {CONFIG}")
    content = path.read_bytes()
    try:
        data = json.loads(content)
    except ValueError as error:
        raise StorageError(f"{path} is broken: {error}") from error
    if not isinstance(data, dict) or "quantization_config" not in data:
        raise StorageError(f"{path} has no quantization_config; it is not that of a saved quantized network")
    if data.get("format") not in READ:
        raise StorageError(f"{path} has format {data.get('format')!r}; this version reads {', '.join(map(str, READ))}")
    names = {field.name: kind for field, kind in zip(dataclasses.fields(Origin), (str, str, str, dict), strict=True)}
    kinds = names | {"format": int, "quantization_config": dict, "files": dict}
    for name in sorted(kinds.keys() ^ data.keys()):
        raise StorageError(f"{path} {'has no' if name in kinds else 'has the unknown key'} {name!r}")
    for name, kind in kinds.items():
        if not isinstance(data[name], kind) and not (name == "weights" and data[name] is None):
            raise StorageError(f"{path}: {name} is {data[name]!r}; it must be a {kind.__name__}")
    origin = Origin(**{name: data[name] for name in names})
    return SavedConfig(origin, data["quantization_config"], data["files"], hashlib.sha256(content).hexdigest())


def check_files(folder: Path, config: SavedConfig) -> None:
    """Raise StorageError if a file is missing or is not the one that was written."""
    if set(config.files) != {MODEL, AUDIT}:
        raise StorageError(f"{folder / CONFIG} lists the files {sorted(config.files)}; it must list {MODEL}, {AUDIT}")
    for name, digest in config.files.items():
        path = folder / name
        if not path.is_file():
            raise StorageError(f"{path} is missing; save the network again")
        actual = _sha256(path)
        if actual != digest:
            raise StorageError(
                f"{path} is not the file that was written: sha256 {actual[:12]}, expected {str(digest)[:12]}; it is "
                "damaged or was replaced; save the network again"
            )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_bytes(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def json_bytes(data: Any) -> bytes:
    """JSON text that is equal for equal data."""
    return (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
