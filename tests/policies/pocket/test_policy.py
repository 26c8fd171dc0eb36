"""The contract of a quantizable policy, held for every head."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from envs.types import OSC_POSE
from policies.base import QuantizablePolicy
from quantizers.quantize import quantize_
from quantizers.registry import parse_method


def test_actions_are_legal_and_the_gripper_is_open_or_closed(policy, observe):
    for chunk in policy.act([observe(0), observe(1)]):
        assert len(chunk) == 8
        for action in chunk:
            OSC_POSE.check(action)
            assert action[6] in (-1.0, 1.0)


def test_the_same_episode_gives_the_same_actions(policy, observe):
    runs = []
    for _ in range(2):
        policy.reset((1, 2))
        runs.append([policy.act([observe(seed)]) for seed in (3, 4)])
    np.testing.assert_array_equal(*runs)


def test_a_batch_answers_as_its_observations_do_alone(policy, observe):
    seen = [observe(seed) for seed in range(3)]
    policy.reset((5,))
    together = policy.act(seen)
    for observation, chunk in zip(seen, together, strict=True):
        policy.reset((5,))
        np.testing.assert_allclose(policy.act([observation])[0], chunk, atol=1e-5)


def test_a_calibration_batch_does_not_depend_on_what_else_is_in_it(policy, observe):
    both, one = policy.batch([observe(0), observe(1)]), policy.batch([observe(1)])
    for name, tensor in one.items():
        torch.testing.assert_close(both[name][1:], tensor, rtol=0, atol=0)


def test_a_calibration_batch_gives_actions_that_every_layer_moves(policy, observe):
    assert isinstance(policy, QuantizablePolicy)
    actions = policy.layout.forward(policy.module, policy.batch([observe(0), observe(1)]))
    assert actions.shape == (2, 8, 7)
    actions.square().sum().backward()
    for site in policy.layout.linears:
        assert policy.module.get_submodule(site.name).weight.grad.any(), site.name


def test_sizes_as_json_build_an_equal_network(policy):
    sizes = json.loads(json.dumps(policy.network_config()))
    twin = type(policy).skeleton(sizes)
    assert twin.module.state_dict().keys() == policy.module.state_dict().keys()
    assert twin.layout.linears == policy.layout.linears and not twin.module.training
    with pytest.raises(TypeError):
        type(policy).skeleton(sizes | {"no_such_size": 1})


def test_every_role_can_be_quantized_and_still_acts(policy, observe):
    roles = "/".join(sorted({site.role for site in policy.layout.linears}))
    audit = quantize_(policy.module, policy.layout, parse_method(f"rtn:w8a8,roles={roles}"))
    assert all(layer.status == "quantized" for layer in audit.layers)
    assert policy.act([observe(0)]).shape == (1, 8, 7)
