"""Calibration observations from the decisions that training reads: a folder that `python -m bench.frames` drew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.demos.episode import TRAINED_ON
from bench.errors import UsageError
from bench.sources.pictures import checked_state, fitted
from bench.sources.source import Seen, Source, Views
from envs.types import Observation


def source(folder: Path, views: Views) -> Source:
    """All decisions of a task. Raises `UsageError` for a policy with a camera that they do not show."""
    strange = [camera for camera in views.cameras if camera not in TRAINED_ON.cameras]
    if strange:
        raise UsageError(f"{folder} has pictures of {', '.join(TRAINED_ON.cameras)}, none of {strange[0]!r}")
    images = np.load(folder / "images.npy", mmap_mode="r")
    states, episodes, texts = (np.load(folder / f"{name}.npy") for name in ("states", "episode", "text"))
    instructions = json.loads((folder / "instructions.json").read_text())

    def seen(index: int) -> Seen:
        where = f"{folder}, decision {index}"
        shown = {camera: fitted(np.array(images[index, TRAINED_ON.cameras.index(camera)]), where, views.image_size)
                 for camera in views.cameras}
        observation = Observation(shown, checked_state(states[index], where), instructions[texts[index]])
        # The names that the shipped calibration observations have.
        return observation, f"{folder.parent.name}/{folder.name}/{episodes[index]}"

    def load(indices: Sequence[int]) -> list[Seen]:
        return [seen(index) for index in indices]

    return Source(f"training decisions {folder}", len(images), load)
