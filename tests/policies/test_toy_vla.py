from __future__ import annotations

import numpy as np
import torch

from envs.toy import open_task, tasks
from policies.base import QuantizablePolicy
from policies.toy_vla import HALF_TABLE_M, ToyVLA


def test_the_network_reads_both_cubes_off_the_pixels():
    policy, env = ToyVLA(), open_task("toy", 0, 32, "none", privileged=True)
    for init_state in range(5):
        observation = env.reset(init_state, 0)
        patches = policy.batch([observation])["images"].reshape(1, 4, 8, 4, 8, 3).transpose(2, 3).reshape(1, 16, -1)
        with torch.no_grad():
            seen = policy.module.projector(policy.module.vision(patches).flatten(1))[0, :4] * HALF_TABLE_M
        assert np.allclose(seen, observation.privileged["cubes"][:, :2].flatten(), atol=2e-3)


def test_it_goes_to_the_cube_that_the_instruction_names():
    policy = ToyVLA()
    for task in tasks("toy"):
        observation = open_task("toy", task.index, 32, "none", privileged=True).reset(0, 0)
        move = policy.act([observation])[0].sum(axis=0)[:2]
        offset = observation.privileged["target"][:2] - observation.state[:2]
        assert (np.sign(move) == np.sign(offset)).all()


def test_two_instances_are_equal_and_a_batch_is_answered_like_its_members():
    env = open_task("toy", 1, 32, "none", privileged=False)
    batch = [env.reset(i, 0) for i in range(3)]
    chunks = ToyVLA().act(batch)
    assert chunks.shape == (3, 8, 7) and chunks.dtype == np.float32 and abs(chunks).max() <= 1
    for observation, chunk in zip(batch, chunks, strict=True):
        assert np.allclose(ToyVLA().act([observation])[0], chunk, atol=1e-5)


def test_its_layout_names_every_linear():
    policy = ToyVLA()
    assert isinstance(policy, QuantizablePolicy)
    linears = [name for name, part in policy.module.named_modules() if isinstance(part, torch.nn.Linear)]
    assert [site.name for site in policy.layout.linears] == linears


def test_calibration_observations_are_legal_and_repeat():
    observations, episodes = ToyVLA().calibration_observations()
    again, _ = ToyVLA().calibration_observations()
    assert len(observations) == len(set(episodes)) == 16
    for first, second in zip(observations, again, strict=True):
        assert np.array_equal(first.images["agentview"], second.images["agentview"])
    chunks = ToyVLA().act(observations)
    assert np.isfinite(chunks).all() and {-1.0, 1.0} <= set(np.sign(chunks[..., 6]).flatten())
