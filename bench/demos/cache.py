"""The decisions of one task and round with their pictures, as arrays that a trainer maps into memory.

Derived from the episodes, so a folder can be deleted and made again. Axis letters: N decisions, C cameras, S pixels, H
actions. A folder has

    images.npy   uint8[N, C, S, S, 3]      episode.npy  int32[N], numbers of the episodes in this task and round
    states.npy   float32[N, 8]             text.npy     int32[N], indices into instructions.json
    chunks.npy   float32[N, H, 7]          instructions.json, meta.json
    focus.npy    float32[N, 7]
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.demos import parts
from bench.demos.drivers import EXPERT
from bench.demos.episode import TRAINED_ON
from bench.demos.pictures import painter
from bench.demos.plan import Task


@dataclass(frozen=True)
class Cache:
    """What one folder should be made of."""

    task: Task
    """The task and round."""
    only_successful: bool
    """Leave out episodes that the expert drove and that missed the goal; a policy's episodes are always kept."""
    every: int
    """Keep each `every`-th decision of an episode, the first among them."""

    def chosen(self) -> list[Path]:
        """The files of the episodes that are drawn."""
        paths = self.task.collected()
        if not self.only_successful:
            return paths
        return [path for path in paths if (fact := parts.facts(path))["success"] or fact["driver"] != EXPERT]

    def digest(self) -> str:
        """sha256 over the files and the choice, by which a folder that is up to date is known."""
        digest = hashlib.sha256(f"1 {self.every}\n".encode())
        for path in self.chosen():
            digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()

    def done(self) -> bool:
        """Whether the folder is there and made of exactly this."""
        meta = self.task.frames / "meta.json"
        return meta.is_file() and json.loads(meta.read_text())["digest"] == self.digest()

    def rows(self, path: Path) -> np.ndarray:
        """int[D]: the decisions of one episode that are kept."""
        return np.flatnonzero(parts.load(path).decisions)[::self.every]


def write(cache: Cache) -> Iterator[str | None]:
    """Make the folder of one task; it appears whole or not at all. Yields None after each episode, and then a line."""
    task, chosen, draft = cache.task, cache.chosen(), cache.task.draft
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    count = sum(len(cache.rows(path)) for path in chosen)
    size, length, cameras = TRAINED_ON.image_size, TRAINED_ON.horizon, len(TRAINED_ON.cameras)
    shapes = {"images": ("uint8", (cameras, size, size, 3)), "states": ("float32", (8,)),
              "chunks": ("float32", (length, 7)), "focus": ("float32", (7,)), "text": ("int32", ()),
              "episode": ("int32", ())}
    arrays = {name: np.lib.format.open_memmap(draft / f"{name}.npy", "w+", dtype, (count, *shape))
              for name, (dtype, shape) in shapes.items()}
    instructions: dict[str, int] = {}
    at = 0
    with painter(task) as paint:
        for path in chosen:
            episode = parts.load(path)
            for row in cache.rows(path):
                arrays["images"][at] = paint.draw(episode, row)
                arrays["states"][at], arrays["chunks"][at] = episode.states[row], episode.chunks[row]
                arrays["focus"][at], arrays["episode"][at] = episode.focus[row], episode.number
                arrays["text"][at] = instructions.setdefault(episode.instruction, len(instructions))
                at += 1
            yield None
    for array in arrays.values():
        array.flush()
    (draft / "instructions.json").write_text(json.dumps(list(instructions), indent=2) + "\n")
    meta = {"suite": task.suite, "task": task.index, "round": task.round, "decisions": count, "episodes": len(chosen),
            "episodes_left_out": len(task.collected()) - len(chosen), "every": cache.every, "digest": cache.digest()}
    (draft / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    shutil.rmtree(task.frames, ignore_errors=True)
    task.frames.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(task.frames)
    yield f"round {task.round} {task.suite} task {task.index}: {count} decisions of {len(chosen)} episodes"
