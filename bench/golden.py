"""Golden pictures: what a suite's first scene looks like, coarse enough that every healthy renderer agrees.

Renderers differ in edges, filtering and rounding, so no picture is equal to the bit on two machines. The mean colours
of 16 x 16 blocks differ little, and differ much when a texture is missing, lights or the floor have changed (MuJoCo
3.3.3 did that), or a picture is black, mirrored or upside down. `python -m bench.golden` records them again, for
whoever has changed a pack on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from envs.registry import SUITES, find_task
from envs.types import Environment, Observation

FOLDER = Path(__file__).parent / "golden"
"""SUITE-ASSETS.png: a row of 16 x 16 pictures, one per camera in the order of `CAMERAS`."""
CAMERAS = ("agentview", "wrist")
"""Cameras that are compared."""
IMAGE_SIZE, BLOCKS = 128, 16
"""Side of the rendered picture in pixels, and of the coarse one in blocks."""
SETTLE_STEPS = 10
"""Control steps with the hold action before the picture, so that nothing is falling."""
MEAN_TOLERANCE, BLOCK_TOLERANCE = 3.0, 40.0
"""Greatest legal difference of 255, of the mean over a picture and of one block's colour."""


def scene_picture(env: Environment) -> Observation:
    """Official init state 0 of an environment, settled."""
    env.reset(0, 0, observe=False)
    hold = np.array(env.action_spec.hold)
    for step in range(SETTLE_STEPS):
        observation = env.step(hold, observe=step == SETTLE_STEPS - 1).observation
    return observation


def coarse(image: np.ndarray) -> np.ndarray:
    """uint8[16, 16, 3]: mean colours of the blocks of uint8[128, 128, 3]."""
    side = image.shape[0] // BLOCKS
    return np.rint(image.reshape(BLOCKS, side, BLOCKS, side, 3).mean(axis=(1, 3))).astype(np.uint8)


def golden(suite: str, assets: str) -> dict[str, np.ndarray] | None:
    """Camera -> uint8[16, 16, 3], None if none was recorded."""
    path = FOLDER / f"{suite}-{assets}.png"
    if not path.is_file():
        return None
    return dict(zip(CAMERAS, np.split(imageio.imread(path), len(CAMERAS), axis=1), strict=True))


def differences(seen: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> list[str]:
    """What sets full pictures (uint8[128, 128, 3] by camera) apart from golden ones; empty if nothing beyond tolerance.
    """
    return [text for camera in CAMERAS if (text := _difference(camera, coarse(seen[camera]), wanted[camera]))]


def _difference(camera: str, seen: np.ndarray, wanted: np.ndarray) -> str | None:
    gap = np.abs(seen.astype(float) - wanted)
    if _within(gap):
        return None
    flips = {"upside down": seen[::-1], "mirrored": seen[:, ::-1], "turned by 180 degrees": seen[::-1, ::-1]}
    for name, turned in flips.items():
        if _within(np.abs(turned.astype(float) - wanted)):
            return f"{camera} is {name}"
    if seen.max() - seen.min() < 3:
        return f"{camera} is one colour, {seen[0, 0].tolist()}"
    row, column = np.unravel_index(gap.max(axis=2).argmax(), gap.shape[:2])
    return (f"{camera} differs by {gap.mean():.1f} of 255 on average (legal {MEAN_TOLERANCE}), most in row {row} "
            f"column {column} of {BLOCKS}: {seen[row, column].tolist()} instead of {wanted[row, column].tolist()} "
            f"(legal {BLOCK_TOLERANCE})")


def _within(gap: np.ndarray) -> bool:
    return bool(gap.mean() <= MEAN_TOLERANCE and gap.max() <= BLOCK_TOLERANCE)


def record(suite: str, assets: str) -> Path:
    """Render and write the golden picture of a suite; returns its file."""
    module, task = find_task(suite, 0)
    env = module.open_task(suite, task.index, IMAGE_SIZE, assets, False, SUITES[suite].stepping[0])
    try:
        images = scene_picture(env).images
    finally:
        env.close()
    path = FOLDER / f"{suite}-{assets}.png"
    path.parent.mkdir(exist_ok=True)
    imageio.imwrite(path, np.concatenate([coarse(images[camera]) for camera in CAMERAS], axis=1))
    return path


if __name__ == "__main__":
    for name, entry in SUITES.items():
        print(record(name, entry.assets[0]))
