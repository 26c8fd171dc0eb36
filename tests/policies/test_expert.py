"""The expert proves that tasks are solvable, from the present state alone."""

from __future__ import annotations

import numpy as np
import pytest

from envs.libero.env import open_task
from envs.types import OSC_POSE, Observation
from policies.expert import CARRY_M, Expert, expert_action

BLANK = {"others": np.zeros((0, 3)), "pick_top": np.array([0.08])}


def seen(hand, pick, place=(0.0, 0.26, 0.0), grasped=False) -> Observation:
    """A state of the world as the expert sees it."""
    state = np.array([*hand, 3.1, 0.0, 0.0, 0.04, -0.04], dtype=np.float32)
    truth = {"pick": np.array([*pick, 1, 0, 0, 0.0]), "place": np.array([*place, 1, 0, 0, 0.0]),
             "grasped": np.array([grasped])}
    return Observation({}, state, "pick up the milk and place it in the basket", BLANK | truth)


def test_far_from_the_object_it_moves_over_it_with_an_open_gripper():
    action = expert_action(seen((0.0, 0.0, 0.25), (-0.12, -0.24, 0.04)))
    assert action[0] < 0 and action[1] < 0 and action[6] == -1


def test_at_the_grasp_point_it_closes():
    assert expert_action(seen((-0.12, -0.24, 0.05), (-0.12, -0.24, 0.04)))[6] == 1


def test_with_the_object_in_hand_it_lifts_before_it_moves_across():
    action = expert_action(seen((-0.12, -0.24, 0.05), (-0.12, -0.24, 0.04), grasped=True))
    assert action[2] > 0 and abs(action[1]) < 0.1 and action[6] == 1


def test_over_the_basket_it_lets_go():
    assert expert_action(seen((0.0, 0.26, CARRY_M), (0.0, 0.26, CARRY_M), grasped=True))[6] == -1


def test_without_privileged_state_it_says_how_to_get_it():
    with pytest.raises(ValueError, match="privileged=True"):
        expert_action(Observation({}, np.zeros(8, np.float32), "x"))


@pytest.mark.libero
@pytest.mark.parametrize("index", [1, 4])
def test_it_solves_official_init_states(index):
    env, expert = open_task("libero_object", index, 0, "builtin", privileged=True), Expert()
    for init_state in (0, 3):
        env.reset(init_state, init_state, observe=False)
        for _ in range(10):
            result = env.step(np.array(OSC_POSE.hold))
        steps = 0
        while not result.success and steps < 280:
            result = env.step(expert.act([result.observation])[0, 0])
            steps += 1
        assert result.success
    env.close()
