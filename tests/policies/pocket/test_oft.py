"""The policy around the network: checkpoints, layout, legal actions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from envs.types import OSC_POSE, Observation
from policies.pocket.model import PocketConfig, PocketOFTNet
from policies.pocket.oft import WEIGHTS, PocketOFT, load_network, save_weights

SMALL = PocketConfig(image_size=64, vision_width=64, vision_layers=1, width=64, layers=1, heads=2, mlp=96)


@pytest.fixture(scope="module")
def policy() -> PocketOFT:
    """A small policy with random weights."""
    torch.manual_seed(0)
    return PocketOFT(module=PocketOFTNet(SMALL).eval())


def observation(seed: int) -> Observation:
    """Noise in the shape of an observation."""
    rng = np.random.default_rng(seed)
    images = {camera: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for camera in ("agentview", "wrist")}
    return Observation(images, rng.normal(size=8).astype(np.float32), "pick up the milk")


def test_actions_are_legal_and_the_gripper_is_open_or_closed(policy):
    for chunk in policy.act([observation(0), observation(1)]):
        for action in chunk:
            OSC_POSE.check(action)
            assert action[6] in (-1.0, 1.0)


def test_the_same_observation_gives_the_same_actions(policy):
    np.testing.assert_array_equal(policy.act([observation(3)]), policy.act([observation(3)]))


def test_the_layout_names_every_linear_once(policy):
    named = [site.name for site in policy.layout.linears]
    assert sorted(named) == sorted(n for n, m in policy.module.named_modules() if isinstance(m, nn.Linear))
    assert {site.role for site in policy.layout.linears} == {"vision", "projector", "language", "action_head"}


def test_a_saved_checkpoint_loads_as_fp16_of_what_was_saved(policy, tmp_path):
    save_weights(policy.module, tmp_path)
    loaded = load_network(tmp_path)
    assert loaded.config == SMALL
    for name, tensor in policy.module.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor.half().float(), rtol=0, atol=0)


def test_a_missing_checkpoint_is_named_with_the_next_step(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing; `make pocket`"):
        PocketOFT(tmp_path)


def test_the_shipped_checkpoint_is_small_and_brings_its_calibration():
    assert (WEIGHTS / "model.safetensors").stat().st_size <= 25_000_000
    observations, episodes = PocketOFT().calibration_observations()
    assert len(observations) == len(episodes) >= 32
    assert len({o.instruction for o in observations}) == 10
    assert all(name.startswith("round0/") for name in episodes)
