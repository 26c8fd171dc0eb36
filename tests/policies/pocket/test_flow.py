"""`pocket-flow`: noise and integration."""

from __future__ import annotations

import numpy as np
import torch

from policies.pocket.diffusion import STEPS
from policies.pocket.flow import noise


def test_noise_follows_from_the_key_alone_and_is_standard_normal():
    assert torch.equal(noise([1, 2]), noise([1, 2])) and not torch.equal(noise([1, 2]), noise([2, 1]))
    drawn = torch.stack([noise([key]) for key in range(200)])
    assert abs(drawn.mean()) < 0.03 and abs(drawn.std() - 1) < 0.03


def test_keys_and_decisions_have_noise_of_their_own(make, observe):
    policy = make("flow")
    chunks = []
    for key in ((1, 2), (1, 3), (1,)):
        policy.reset(key)
        chunks += [policy.act([observe(0)])[0, :, :6] for _ in range(2)]
    for index, chunk in enumerate(chunks):
        assert not any(np.allclose(chunk, other, atol=1e-4) for other in chunks[index + 1:])


def test_several_episodes_at_once_are_as_each_alone(make, observe):
    policy, alone = make("flow"), []
    for key in ((1,), (2, 3)):
        policy.reset(key)
        alone.append([policy.act([observe(number)])[0] for number in range(2)])
    found = policy.act_keyed([observe(1), observe(0), observe(1)], [((2, 3), 1), ((1,), 0), ((1,), 1)])
    np.testing.assert_allclose(found, np.stack([alone[1][1], alone[0][0], alone[0][1]]), atol=1e-5)


def test_a_calibration_batch_does_not_move_the_episode_on(make, observe):
    policy, chunks = make("flow"), []
    for peek in (False, True):
        policy.reset((1,))
        if peek:
            policy.batch([observe(0)])
        chunks.append(policy.act([observe(1)]))
    np.testing.assert_array_equal(*chunks)


def test_the_transformer_runs_once_a_step_and_the_backbone_once(make, observe):
    policy, calls = make("flow"), []
    denoiser = policy.module.get_submodule(policy.layout.denoiser)
    denoiser.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[1].tolist()))
    policy.module.language.register_forward_hook(lambda *_: calls.append("language"))
    policy.act([observe(0)])
    assert calls == ["language"] + [[step / STEPS] for step in range(STEPS)]


def test_a_constant_velocity_ends_at_noise_plus_velocity_in_action_units(make, monkeypatch):
    module = make("flow").module
    module.action_mean.fill_(0.1)
    module.action_scale.fill_(0.5)
    monkeypatch.setattr(module, "velocity", lambda x, time, state, context: torch.full_like(x, 2.0))
    start = torch.randn(3, 8, 7)
    ended = module.integrate(torch.zeros(3, 41, 64), torch.zeros(3, 8), start)
    torch.testing.assert_close(ended, (start + 2.0) * 0.5 + 0.1)


def test_several_noises_of_one_context_are_as_each_alone(make):
    module = make("flow").module
    generator = torch.Generator().manual_seed(0)
    noisy, context = torch.randn(6, 8, 7, generator=generator), torch.randn(2, 41, 64, generator=generator)
    time, state = torch.rand(6, generator=generator), torch.randn(6, 8, generator=generator)
    together = module.velocity(noisy, time, state, context)
    torch.testing.assert_close(together, module.velocity(noisy, time, state, context.repeat_interleave(3, 0)))


def test_blocks_alternate_cross_and_self_attention(make):
    module = make("flow").module
    widths = [block.attention.to_k.in_features for block in module.dit.blocks]
    assert widths == [module.config.width, module.config.dit_width]
