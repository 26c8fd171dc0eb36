"""The microwave of these scenes opens towards -y, its hinge is at its left."""

from __future__ import annotations

import numpy as np

from policies.experts.doors import BAR_M, GAP_M, PUSH_HEIGHT_M, PUSH_M, close_door, door_frame, open_door
from policies.experts.scene import DOWN, Goal

GOAL = Goal("close", "microwave_1", "", "microwave_1_microjoint", False)
OVEN = np.array([0.0, 0.3, 0.92])


def scene_at(world, hand, at, opening_m=0.08):
    return world(hand=hand, opening_m=opening_m, joints={GOAL.joint: at},
                 things={"microwave_1": (OVEN + [0.0, 0.0, 0.09], (0.17, 0.11, 0.09))})


def test_a_hand_outside_the_door_pushes_it_shut(world):
    hinge, door = door_frame(scene_at(world, OVEN, -1.5), GOAL, -1.5)
    hand = hinge + door @ np.array([PUSH_M, -GAP_M, 0.0])
    hand[2] = OVEN[2] + PUSH_HEIGHT_M
    move = close_door(scene_at(world, hand, -1.5), GOAL)
    assert (move.position - hand) @ door[:, 1] > 0.01 and np.isclose(move.position[2], hand[2])


def test_a_hand_inside_the_door_rises_over_it(world):
    hand = OVEN + np.array([0.0, -0.15, 0.1])
    move = close_door(scene_at(world, hand, -1.5), GOAL)
    assert move.position[2] > OVEN[2] + 0.19 and np.allclose(move.position[:2], hand[:2])


def test_the_bar_is_pulled_on_a_circle_about_the_hinge(world):
    hinge, door = door_frame(scene_at(world, OVEN, 0.0), GOAL, 0.0)
    bar = hinge + door @ BAR_M
    move = open_door(scene_at(world, bar, 0.0, opening_m=0.02), GOAL)
    assert move.closed and move.position[1] < bar[1] - 0.03
    assert np.isclose(np.linalg.norm((move.position - hinge)[:2]), np.linalg.norm((bar - hinge)[:2]))


def test_open_fingers_stand_off_so_that_one_fits_behind_the_bar(world):
    hinge, door = door_frame(scene_at(world, OVEN, 0.0), GOAL, 0.0)
    bar = hinge + door @ BAR_M
    move = open_door(scene_at(world, bar + [0.0, -0.025, 0.1], 0.0), GOAL)
    assert not move.closed and np.isclose(move.position[1], bar[1] - 0.025)
    assert np.allclose(abs(move.rotation[:, 1]), abs(DOWN[:, 1]))
