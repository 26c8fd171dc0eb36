"""Pictures of stored instants: the same, bit for bit, as the environment showed while the episode was played."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bench.demos.episode import TRAINED_ON, Episode
from bench.demos.plan import ASSETS, Task
from bench.errors import UsageError
from envs.libero import env as libero


class Painter:
    """Draws the episodes of one task."""

    def __init__(self, env: libero.LiberoEnv, assets: str) -> None:
        self._env = env
        self._assets = assets

    def draw(self, episode: Episode, row: int) -> np.ndarray:
        """uint8[C, S, S, 3]: what the cameras showed before action `row`.

        Raises `UsageError` if the episode was played with other assets.
        """
        if episode.assets != self._assets:
            raise UsageError(f"an episode of {episode.suite} task {episode.task} was played with assets "
                             f"{episode.assets}, these are {self._assets}; collect it again")
        self._env.scene.show(episode.simulator[row], episode.shown[row], episode.fixtures)
        images = self._env.observe().images
        return np.stack([images[camera] for camera in TRAINED_ON.cameras])


@contextmanager
def painter(task: Task) -> Iterator[Painter]:
    """The painter of a task; a process has one at a time."""
    env = libero.open_task(task.suite, task.index, TRAINED_ON.image_size, ASSETS)
    try:
        yield Painter(env, libero.assets_stamp(ASSETS)["digest"])
    finally:
        env.close()
