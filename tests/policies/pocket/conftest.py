"""Networks of the three heads that are small enough for a test."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs.types import Observation
from policies.pocket.diffusion import FlowConfig
from policies.pocket.model import CAMERAS, PocketConfig
from policies.pocket.flow import PocketFlow
from policies.pocket.oft import PocketOFT
from policies.pocket.policy import PocketPolicy
from policies.pocket.token import PocketToken

SMALL = dict(image_size=64, vision_width=64, vision_layers=1, width=64, layers=1, heads=2, mlp=96)
"""Sizes of a small backbone."""
CONFIGS = {
    "oft": PocketConfig(**SMALL), "token": PocketConfig(**SMALL),
    "flow": FlowConfig(**SMALL, dit_width=32, dit_layers=2, dit_heads=2, dit_mlp=48),
}
POLICIES = {kind.head: kind for kind in (PocketOFT, PocketToken, PocketFlow)}


def make(head: str) -> PocketPolicy:
    """A small policy with random weights, the same each time."""
    torch.manual_seed(0)
    config = CONFIGS[head]
    return POLICIES[head].skeleton(vars(config))


@pytest.fixture(params=tuple(POLICIES))
def policy(request) -> PocketPolicy:
    """A small policy of each head."""
    return make(request.param)


@pytest.fixture
def small():
    """`make`, `CONFIGS` and `observation` for tests that choose a head."""
    return make


@pytest.fixture
def configs() -> dict[str, PocketConfig]:
    """Head -> sizes of its small network."""
    return CONFIGS


@pytest.fixture
def observe():
    """Noise in the shape of an observation, from a seed."""

    def observation(seed: int) -> Observation:
        rng = np.random.default_rng(seed)
        images = {camera: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for camera in CAMERAS}
        text = ("pick up the milk", "open the top drawer and put the bowl inside")[seed % 2]
        return Observation(images, rng.normal(size=8).astype(np.float32), text)

    return observation
