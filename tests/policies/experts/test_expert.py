"""The expert proves that tasks are solvable, from the present state alone."""

from __future__ import annotations

import numpy as np
import pytest

from envs.libero.env import open_task
from envs.types import OSC_POSE, Observation
from policies.experts.expert import Expert, expert_action


def test_without_privileged_state_it_says_how_to_get_it():
    with pytest.raises(ValueError, match="privileged=True"):
        expert_action(Observation({}, np.zeros(8, np.float32), "x"))


@pytest.mark.libero
@pytest.mark.parametrize(("suite", "index", "cap"), [
    ("libero_object", 1, 280), ("libero_spatial", 4, 220), ("libero_goal", 3, 300), ("libero_10", 9, 520)])
def test_it_solves_official_init_states(suite, index, cap):
    env, expert = open_task(suite, index, 0, "builtin", privileged=True), Expert()
    for init_state in (0,):
        env.reset(init_state, init_state, observe=False)
        for _ in range(10):
            result = env.step(np.array(OSC_POSE.hold))
        steps = 0
        while not result.success and steps < cap:
            result = env.step(expert.act([result.observation])[0, 0])
            steps += 1
        assert result.success
    env.close()
