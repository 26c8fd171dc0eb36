"""Every registered task is a well-behaved gymnasium environment."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs.gym


def test_ids_are_registered_once():
    ids = envs.gym.register()
    assert envs.gym.register() == ids
    assert {"qvla_bench/toy-0", "qvla_bench/libero_object-9"} <= set(ids)


@pytest.mark.parametrize("name", ["toy-0", pytest.param("libero_object-0", marks=pytest.mark.libero)])
def test_gymnasiums_own_checker_is_content(name):
    envs.gym.register()
    env = gymnasium.make(f"qvla_bench/{name}", render_mode="rgb_array").unwrapped
    check_env(env)
    env.close()


def test_an_init_state_can_be_asked_for():
    env = envs.gym.make("toy", 0)
    first, info = env.reset(seed=1, options={"init_state": 3})
    again, _ = env.reset(seed=1, options={"init_state": 3})
    np.testing.assert_array_equal(first["agentview"], again["agentview"])
    assert info["instruction"] == env.environment.task.instruction
