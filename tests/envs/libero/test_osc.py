"""The compiled controller commands what robosuite's does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.libero.env import assets_folder, tasks
from envs.libero.scene import LiberoScene

pytestmark = pytest.mark.libero


@pytest.fixture(scope="module")
def scene():
    """One compiled task, with robosuite's controller."""
    opened = LiberoScene(tasks("libero_object")[7], assets_folder("builtin"), lean=True)
    yield opened
    opened.close()


@given(vector=st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3))
def test_a_rotation_vector_becomes_robosuites_matrix_bit_for_bit(scene, vector):
    from robosuite.utils import transform_utils

    from envs.libero.osc import rotation_matrix

    expected = transform_utils.quat2mat(transform_utils.axisangle2quat(np.array(vector)))
    np.testing.assert_array_equal(rotation_matrix(np.array(vector)), expected)


@given(quat=st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_a_quaternion_becomes_robosuites_rotation_vector(scene, quat):
    from robosuite.utils import transform_utils

    from envs.libero.facts import axis_angle

    expected = transform_utils.quat2axisangle(np.array([*quat[1:], quat[0]]))
    np.testing.assert_array_equal(axis_angle(np.array(quat)), expected)


def test_every_command_of_an_episode_equals_robosuites_also_the_first_after_a_reset(scene):
    import mujoco

    from envs.libero.export import controller_of
    from envs.libero.osc import OscPose

    scene.place(3, 0)
    problem, model, data = scene.problem, scene.model, scene.data
    ours = OscPose(model, data, scene.facts.hand_site, controller_of(problem))
    rng, worst = np.random.default_rng(2), 0.0
    for step in range(12):
        action = rng.uniform(-1, 1, 7)
        if step % 3 == 0:
            action[3:6] = 0.0
        for substep in range(25):
            mujoco.mj_step1(model, data)
            ours.drive(action, substep == 0)
            commanded = data.ctrl.copy()
            problem._pre_action(action, substep == 0)
            worst = max(worst, abs(commanded - data.ctrl).max())
            mujoco.mj_step2(model, data)
    assert worst < 1e-9
    np.testing.assert_array_equal(ours.state.gripper, problem.robots[0].gripper.current_action)
