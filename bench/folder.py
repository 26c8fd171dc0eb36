"""Where everything of a run lies on disk; the one place that knows file names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import StoreFull
from bench.spec import EpisodeKey


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    root: Path
    """`runs/NAME`."""

    @property
    def header(self) -> Path:
        """Spec and provenance."""
        return self.root / "header.json"

    @property
    def episodes(self) -> Path:
        """One JSON line per finished episode."""
        return self.root / "episodes.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the one process that writes."""
        return self.root / ".lock"

    def audit(self, variant_id: str) -> Path:
        """What was quantized."""
        return self.root / "audits" / f"{variant_id}.json"

    def variant(self, variant_id: str) -> Path:
        """The quantized network, as `qvla-bench quantize` writes one."""
        return self.root / "variants" / variant_id

    def trace(self, key: EpisodeKey) -> Path:
        """Every control step of an episode."""
        return self.root / "traces" / key.variant_id / f"{key.pair}.parquet"

    def observations(self, key: EpisodeKey) -> Path:
        """What the full-precision policy saw and answered; equal for every variant of a pair."""
        return self.root / "observations" / f"{key.pair}.npz"

    def shadow(self, key: EpisodeKey) -> Path:
        """What a variant would have done while full precision was in control."""
        return self.root / "shadows" / key.variant_id / f"{key.pair}.json"

    def frames(self, key: EpisodeKey) -> Path:
        """Film of one episode."""
        return self.frames_folder / key.variant_id / f"{key.pair}.mp4"

    @property
    def frames_folder(self) -> Path:
        """All films."""
        return self.root / "frames"

    def timing(self, device: str) -> Path:
        """Interleaved latencies on one device."""
        return self.root / "timings" / f"{device}.json"


def write_json(path: Path, data: Any) -> None:
    """Write so that a reader finds the old content or the new one, never a part."""
    write_bytes(path, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing, and have it on the disk before returning."""
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "wb", buffering=0) as file:
            write_all(file.fileno(), content)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise full(path, error) from error


def write_all(descriptor: int, content: bytes) -> None:
    """Every byte, and on the disk before returning; raises `OSError`."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest):]
    os.fsync(descriptor)


def full(path: Path, error: OSError) -> StoreFull:
    """What to say when the system does not write."""
    return StoreFull(f"cannot write {path}: {error.strerror or error}; make room, and the same command goes on where "
                     "it stopped")
