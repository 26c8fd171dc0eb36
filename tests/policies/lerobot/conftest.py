"""Tiny LeRobot checkpoints in the published layout, with arbitrary weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from envs.types import Observation


def seen(seed: int, instruction: str = "pick up the milk") -> Observation:
    random = np.random.default_rng(seed)
    images = {camera: random.integers(0, 256, (256, 256, 3), dtype=np.uint8) for camera in ("agentview", "wrist")}
    return Observation(images, random.uniform(-0.5, 0.5, 8).astype(np.float32), instruction)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Callable[[str], Path]:
    """`checkpoint("pi0")`: a folder as LeRobot writes one."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = written(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return make


def written(kind: str, folder: Path) -> Path:
    from policies.lerobot.random_weights import write
    from policies.lerobot.sizes import TINY

    write(folder, TINY[kind])
    np.savez(folder / "calibration.npz", cameras=["agentview", "wrist"],
             states=np.stack([seen(i).state for i in range(8)]),
             images=np.stack([[seen(i).images[c] for c in ("agentview", "wrist")] for i in range(8)]),
             instructions=["pick up the milk"] * 8, episodes=[f"drawn-{i}" for i in range(8)])
    return folder
