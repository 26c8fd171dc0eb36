from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from policies.experts.drive import drive, leaning, rotation_vector, turned, within_reach
from policies.experts.scene import DOWN, Move

ANGLES = st.floats(-np.pi, np.pi)


@given(st.tuples(ANGLES, ANGLES, ANGLES))
def test_a_rotation_vector_is_the_shortest_turn(angles):
    rotation = Rotation.from_euler("xyz", angles)
    vector = rotation_vector(rotation.as_matrix())
    assert np.linalg.norm(vector) < np.pi + 1e-6
    assert np.allclose(Rotation.from_rotvec(vector).as_matrix(), rotation.as_matrix(), atol=1e-5)


def test_half_a_turn_about_each_axis_is_found():
    for axis in np.eye(3):
        vector = rotation_vector(2.0 * np.outer(axis, axis) - np.eye(3))
        assert np.allclose(abs(vector), np.pi * axis)


def test_the_hand_is_sent_towards_its_goal_and_the_gripper_obeys(world):
    action = drive(world(hand=(0.0, 0.0, 1.0)), Move(np.array([0.5, -0.01, 1.0]), None, True))
    assert action.dtype == np.float32 and action[0] == 1.0 and -1.0 < action[1] < 0.0 and action[2] == 0.0
    assert np.allclose(action[3:6], 0.0, atol=1e-6) and action[6] == 1.0


def test_a_big_turn_keeps_its_axis(world):
    action = drive(world(), Move(np.array([-0.2, 0.0, 1.17]), turned(1.5), False))
    assert np.allclose(action[3:6], [0.0, 0.0, 1.0], atol=1e-6) and action[6] == -1.0


def test_a_hand_that_leans_keeps_its_fingers_level():
    hand = turned(0.3) @ leaning(0.4)
    assert np.isclose(hand[2, 1], 0.0) and np.isclose(hand[2, 2], -np.cos(0.4))
    assert np.allclose(turned(0.0), DOWN)


def test_the_arm_is_never_stretched(world):
    far = np.array([0.4, 0.0, 1.17])
    near = within_reach(world(), far)
    assert 0.05 < near[0] < 0.15 and near[2] == far[2]
    higher = within_reach(world(hand=(-0.2, 0.0, 1.35)), far)
    assert higher[0] < near[0]
    assert np.array_equal(within_reach(world(), np.array([0.0, 0.1, 1.0])), [0.0, 0.1, 1.0])


def test_an_arm_that_is_bent_the_wrong_way_is_stretched_first(world):
    move = Move(np.array([-0.2, 0.0, 1.17]), turned(1.5), True)
    hand = np.array([0.1, -0.05, 1.1])
    stuck, bent = (drive(world(hand=hand, elbow_rad=elbow), move) for elbow in (-0.07, -0.6))
    assert stuck[0] > 0.9 and not stuck[3:6].any() and stuck[6] == 1.0
    assert bent[0] < 0.0 and bent[3:6].any()
