"""Tiny checkpoints in the published layout, written once, and observations for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.types import Observation
from policies.openvla.policy import OpenVLA, OpenVLAOFT
from policies.openvla.univla import UniVLA
from tests.policies.openvla import tiny

POLICIES = {"openvla": OpenVLA, "openvla-oft": OpenVLAOFT, "univla": UniVLA}
SIDE = 56
"""Pixels of the pictures of most checkpoints here; those of test_published_numbers have the true 224."""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """Kind -> folder; do not change them."""
    parent = tmp_path_factory.mktemp("openvla")
    return {kind: tiny.write_checkpoint(parent / kind, kind, side=SIDE) for kind in POLICIES}


@pytest.fixture
def oft(checkpoints, tmp_path) -> Path:
    """A checkpoint of OpenVLA-OFT that may be changed."""
    return Path(shutil.copytree(checkpoints["openvla-oft"], tmp_path / "oft"))


@pytest.fixture(scope="session")
def recorded() -> dict:
    return json.loads((Path(__file__).parent / "recorded.json").read_text())


def made(kind: str, folder: Path):
    return POLICIES[kind](f"{tiny.SUITE}={folder}")


def observations(count: int, seed: int = 0) -> list[Observation]:
    """Pictures of noise, states within reach, instructions of two lengths."""
    random = np.random.default_rng(seed)
    texts = ("put both moka pots on the stove", "lift the red cube")
    return [Observation(
        {camera: random.integers(0, 256, (256, 256, 3), dtype=np.uint8) for camera in ("agentview", "wrist")},
        random.uniform(-0.2, 0.2, 8).astype(np.float32), texts[index % 2]) for index in range(count)]
