"""Small networks of the three heads, observations of noise, and a folder of samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.types import Observation
from policies.pocket.checkpoint import NETWORKS
from policies.pocket.diffusion import FlowConfig
from policies.pocket.flow import PocketFlow
from policies.pocket.model import CAMERAS, PocketConfig
from policies.pocket.oft import PocketOFT
from policies.pocket.policy import PocketPolicy
from policies.pocket.token import PocketToken

SMALL = {"image_size": 64, "vision_width": 64, "vision_layers": 1, "width": 64, "layers": 1, "heads": 2, "mlp": 96}
TEXTS = ("open the top drawer and put the bowl inside", "pick up the milk")


@pytest.fixture(scope="session")
def configs() -> dict[str, PocketConfig]:
    """Head -> sizes of a network that answers in milliseconds."""
    flow = FlowConfig(**SMALL, dit_width=32, dit_layers=2, dit_heads=2, dit_mlp=48)
    return {"oft": PocketConfig(**SMALL), "token": PocketConfig(**SMALL), "flow": flow}


@pytest.fixture
def make(configs) -> Callable[[str], PocketPolicy]:
    """Head -> small policy with random weights, the same each time."""

    def policy(head: str) -> PocketPolicy:
        torch.manual_seed(0)
        kind = {"oft": PocketOFT, "token": PocketToken, "flow": PocketFlow}[head]
        return kind(module=NETWORKS[head][0](configs[head]).eval())

    return policy


@pytest.fixture(params=tuple(NETWORKS))
def policy(request, make) -> PocketPolicy:
    """A small policy of each head."""
    return make(request.param)


@pytest.fixture
def observe() -> Callable[[int], Observation]:
    """Seed -> noise in the shape of an observation, with an instruction of another length for the next seed."""

    def observation(seed: int) -> Observation:
        rng = np.random.default_rng(seed)
        images = {camera: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for camera in CAMERAS}
        return Observation(images, rng.normal(size=8).astype(np.float32), TEXTS[seed % 2])

    return observation


@pytest.fixture
def folder(tmp_path) -> Path:
    """Samples of 60 episodes of noise, 2 decisions each; task 0 has three episodes of four."""
    rng, path = np.random.default_rng(0), tmp_path / "frames" / "round0"
    path.mkdir(parents=True)
    arrays = {
        "images": rng.integers(0, 256, (120, 2, 64, 64, 3), dtype=np.uint8),
        "states": rng.normal(size=(120, 8)).astype(np.float32),
        "chunks": rng.uniform(0.3, 0.5, (120, 8, 7)).astype(np.float32),
        "focus": rng.normal(size=(120, 7)).astype(np.float32),
        "episode": (np.arange(120) // 2).astype(np.int32),
        "text": (np.arange(120) // 2 % 4 == 3).astype(np.int32),
    }
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    (path / "instructions.json").write_text(json.dumps(TEXTS))
    return path
