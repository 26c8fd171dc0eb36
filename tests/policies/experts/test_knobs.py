"""The knob of these scenes stands at the origin of the stove; its fin points to +x while it is off."""

from __future__ import annotations

import numpy as np

from policies.experts.drive import turned
from policies.experts.knobs import ARM_M, BESIDE_M, PUSH_HEIGHT_M, TURN_HEIGHT_M, nearest, turn_off, turn_on
from policies.experts.scene import DOWN, Goal

GOAL = Goal("turnon", "flat_stove_1", "", "flat_stove_1_button", False)
STOVE = np.array([-0.2, 0.2, 0.905])


def scene_at(world, hand, at=0.0, rotation=DOWN):
    return world(hand=hand, rotation=rotation, joints={GOAL.joint: at},
                 things={"flat_stove_1": (STOVE + [0.0, 0.0, 0.01], (0.1, 0.1, 0.01))})


def test_fingers_beside_the_fin_push_it_around_the_axis(world):
    hand = STOVE + np.array([ARM_M, -BESIDE_M, PUSH_HEIGHT_M])
    move = turn_on(scene_at(world, hand), GOAL)
    assert move.closed and move.position[1] > hand[1] + 0.02
    assert np.isclose(np.linalg.norm((move.position - STOVE)[:2]), np.hypot(ARM_M, BESIDE_M))


def test_fingers_beyond_the_fin_rise_and_come_back(world):
    hand = STOVE + np.array([ARM_M, BESIDE_M, PUSH_HEIGHT_M])
    move = turn_on(scene_at(world, hand), GOAL)
    assert move.position[2] > hand[2] + 0.05


def test_turning_off_comes_down_only_over_the_axis(world):
    over, aside = (turn_off(scene_at(world, STOVE + np.array([x, 0.0, 0.12]), 2.0, turned(-1.5)), GOAL)
                   for x in (0.0, 0.05))
    assert np.isclose(over.position[2], STOVE[2] + TURN_HEIGHT_M) and aside.position[2] > over.position[2] + 0.03


def test_around_the_fin_the_hand_turns_on_the_spot(world):
    axis = STOVE + np.array([0.0, 0.0, TURN_HEIGHT_M])
    move = turn_off(scene_at(world, axis, 1.0), GOAL)
    assert not move.closed and np.allclose(move.position, axis) and not np.allclose(move.rotation, DOWN)


def test_two_equal_fingers_turn_the_short_way(world):
    scene = scene_at(world, STOVE)
    assert np.allclose(nearest(scene, turned(3.0)), turned(3.0 - np.pi))
