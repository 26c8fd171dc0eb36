from __future__ import annotations

import numpy as np
import pytest

from envs.toy import INIT_STATES, open_task, tasks
from envs.types import OSC_POSE, ActionError, InitStateError
from policies.scripted import ToyScripted


def play(task: int, init_state: int, seed: int) -> tuple[bool, np.ndarray]:
    env, policy, states = open_task("toy", task, 16, "none", True), ToyScripted(), []
    observation = env.reset(init_state, seed)
    for _ in range(10):
        for action in policy.act([observation])[0]:
            result = env.step(action)
            states.append(result.state)
            if result.success:
                return True, np.array(states)
        observation = result.observation
    return False, np.array(states)


@pytest.mark.parametrize("task", [0, 1])
def test_the_scripted_policy_solves_every_init_state(task):
    assert all(play(task, init_state, seed=0)[0] for init_state in range(INIT_STATES))


def test_an_episode_depends_on_its_init_state_and_seed_alone():
    env = open_task("toy", 0, 32, "none", False)
    first = env.reset(3, seed=5)
    for _ in range(7):
        env.step(np.ones(7))
    again, other = env.reset(3, seed=5), env.reset(3, seed=6)
    assert np.array_equal(first.state, again.state) and not np.array_equal(first.state, other.state)
    assert all(np.array_equal(first.images[c], again.images[c]) for c in first.images)
    assert np.array_equal(play(1, 2, 9)[1], play(1, 2, 9)[1])


def test_images_are_rendered_only_on_request():
    env = open_task("toy", 0, 32, "none", False)
    assert env.reset(0, 0, observe=False) is None
    result = env.step(np.array(OSC_POSE.hold), observe=False)
    assert result.observation is None and result.state.shape == (8,) and result.state.dtype == np.float32


def test_holding_still_changes_nothing():
    env = open_task("toy", 0, 32, "none", False)
    before = env.reset(0, 0)
    after = env.step(np.array(OSC_POSE.hold)).observation
    assert np.array_equal(before.state, after.state)
    assert np.array_equal(before.images["agentview"], after.images["agentview"])


@pytest.mark.parametrize("size", [16, 32, 64])
def test_the_cubes_mass_in_the_picture_does_not_depend_on_where_they_are(size):
    env = open_task("toy", 0, size, "none", False)
    masses = [(env.reset(i, 0).images["agentview"][..., 0] - 30.0).sum() / size**2 for i in range(5)]
    assert masses == pytest.approx([200 * 0.01] * 5, rel=0.02)


def test_row_zero_is_the_far_side_of_the_table():
    env = open_task("toy", 0, 64, "none", True)
    observation = env.reset(0, 0)
    x, y, _ = observation.privileged["target"]
    row, column = np.unravel_index(observation.images["agentview"][..., 0].argmax(), (64, 64))
    assert abs((column + 0.5) / 64 * 0.4 - 0.2 - x) < 0.03
    assert abs(0.2 - (row + 0.5) / 64 * 0.4 - y) < 0.03


def test_lifting_the_other_cube_is_no_success():
    env, policy = open_task("toy", 0, 16, "none", True), ToyScripted()
    observation = env.reset(0, 0)
    for _ in range(10):
        truth = {**observation.privileged, "target": observation.privileged["cubes"][1]}
        for action in policy.act([type(observation)(observation.images, observation.state, "", truth)])[0]:
            result = env.step(action)
            assert not result.success
        observation = result.observation
    assert observation.privileged["cubes"][1][2] > 0.10


def test_truth_is_only_given_on_request():
    assert open_task("toy", 0, 16, "none", False).reset(0, 0).privileged is None


@pytest.mark.parametrize("init_state", [-1, INIT_STATES])
def test_an_init_state_out_of_range_is_named_with_the_range(init_state):
    with pytest.raises(InitStateError, match=f"0..{INIT_STATES - 1}, got {init_state}"):
        open_task("toy", 0, 16, "none", False).reset(init_state, 0)


def test_drawn_placements_differ_by_seed():
    env = open_task("toy", 0, 16, "none", True)
    drawn = [env.reset(None, seed).privileged["cubes"] for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("action", [np.full(7, np.nan), np.full(7, 1.5), np.zeros(6)])
def test_an_illegal_action_is_refused(action):
    env = open_task("toy", 0, 16, "none", False)
    env.reset(0, 0)
    with pytest.raises(ActionError):
        env.step(action)


def test_tasks_name_themselves():
    assert [t.instruction for t in tasks("toy")] == ["lift the red cube", "lift the blue cube"]
    with pytest.raises(ValueError, match="camera"):
        open_task("toy", 0, 16, "none", False).render("back", 16)
