"""The half of a Ray run that lives on the nodes: a player with a scratch folder, and what its machine is made of.

Nodes need not share a disk. What an episode reads comes with its key, and what it writes goes back with its record.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.doctor import renderer_of
from bench.errors import sendable
from bench.folder import RunFolder, write_bytes
from bench.player import Player
from bench.pool import suite_module
from bench.provenance import code, machine, packages
from bench.schedule import partner
from bench.spec import BenchSpec, EpisodeKey, PolicyVariant
from bench.variants import package_root

Files = Mapping[str, bytes]
"""Path below the run folder -> content."""
SAME = ("code", "packages", "assets", "renderer")
"""Fields of a header in which every node must equal the runner."""


class Seat:
    """One process on a node; Ray makes it an actor."""

    def __init__(self, spec: BenchSpec, timeout_s: float, isolate: bool) -> None:
        self._spec = spec
        self._scratch = tempfile.TemporaryDirectory(prefix="qvla-bench-")
        self._root = Path(self._scratch.name).resolve()
        self._player = Player(spec, RunFolder(self._root), timeout_s, isolate)

    def circumstances(self) -> dict[str, Any]:
        """The fields of `SAME`, `node` and its `cpu`; or `{"raised"}`, why this node cannot play."""
        import ray

        try:
            node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:8]}"
            return {"node": node, "cpu": machine()["cpu"], "code": code(package_root()), "packages": packages(),
                    "assets": dict(suite_module(self._spec.suite).assets_stamp(self._spec.assets)),
                    # Whether this MuJoCo will do was decided on the runner; that it is the same one is compared.
                    "renderer": renderer_of(self._spec.suite, any_mujoco=True)}
        except Exception as error:
            return {"raised": sendable(error)}

    def play(self, variant: PolicyVariant, key: EpisodeKey, given: Files) -> dict[str, Any]:
        """`{"record", "files", "kept", "audits"}`, the last two empty for a variant that was here; or `{"raised"}`."""
        try:
            for name, content in given.items():
                write_bytes(self._root / name, content)
            new, audit = self._player.prepare(variant)
            record = self._player.play(key)
            made = {str(p.relative_to(self._root)): p.read_bytes() for p in self._files()}
            return {"record": record, "audits": [audit] if new else [],
                    "kept": kept(RunFolder(self._root), variant) if new else {},
                    "files": {name: content for name, content in made.items() if name not in given}}
        except Exception as error:
            return {"raised": sendable(error)}
        finally:
            for path in self._files():
                path.unlink()

    def _files(self) -> list[Path]:
        """What is there of an episode; networks stay for the next one."""
        networks = RunFolder(self._root).variant("")
        return [p for p in self._root.rglob("*") if p.is_file() and networks not in p.parents]


def needed(spec: BenchSpec, folder: RunFolder, key: EpisodeKey) -> dict[str, bytes]:
    """What an episode reads: of its full-precision partner what it saw and where it went."""
    if key.variant_id == spec.variants[0].variant_id:
        return {}
    paths = (folder.observations(key), folder.trace(partner(spec, key)))
    return {str(path.relative_to(folder.root)): path.read_bytes() for path in paths}


def kept(folder: RunFolder, variant: PolicyVariant) -> dict[str, bytes]:
    """The quantized network of a variant as the run folder keeps it (`bench.kept`), empty if it does not yet."""
    place = folder.variant(variant.variant_id)
    return {str(path.relative_to(folder.root)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def write_kept(folder: RunFolder, variant: PolicyVariant, files: Files) -> None:
    """Keep the network that a node has made, whole or not at all, unless there is one already."""
    place = folder.variant(variant.variant_id)
    if not files or place.exists():
        return
    with tempfile.TemporaryDirectory(dir=folder.root) as draft:
        for name, content in files.items():
            write_bytes(Path(draft) / name, content)
        place.parent.mkdir(exist_ok=True)
        (RunFolder(Path(draft)).variant(variant.variant_id)).rename(place)
