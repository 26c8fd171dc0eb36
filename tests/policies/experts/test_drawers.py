"""The drawer of these scenes is a region at (0, 0.3, 1.0) of a cabinet that opens towards -y; its bar is at y 0.187."""

from __future__ import annotations

import numpy as np
import pytest

from policies.experts.approach import angle, pitched, pitched_flat
from policies.experts.drawers import (
    GRASP_PITCH_RAD,
    PUSH_PITCH_RAD,
    close_drawer,
    front,
    handle,
    open_drawer,
    widen_drawer,
)
from policies.experts.scene import Goal

GOAL = Goal("open", "cabinet_1", "cabinet_1_top_region", "cabinet_1_top_level", False)
FRONT = pitched(np.array([0.0, 1.0, 0.0]), GRASP_PITCH_RAD)
FIST = pitched_flat(np.array([0.0, 1.0, 0.0]), PUSH_PITCH_RAD)


def scene_at(world, hand, rotation, opening_m=0.08):
    return world(hand=hand, rotation=rotation, opening_m=opening_m, joints={GOAL.joint: 0.0},
                 things={"cabinet_1": ((0.0, 0.3, 1.0), (0.13, 0.09, 0.1))},
                 regions={GOAL.target: ((0.0, 0.3, 1.0), (0.03, 0.07, 0.1))})


def bar_of(world):
    return handle(scene_at(world, (0, 0, 1.2), FRONT), GOAL)


def test_the_bar_is_in_front_of_the_drawer(world):
    bar, out = bar_of(world)
    assert np.allclose(out, [0, -1, 0]) and np.allclose(bar, [-0.0058, 0.1871, 0.9987])


@pytest.mark.parametrize("motion", [open_drawer, close_drawer])
def test_a_hand_behind_the_front_rises_before_anything_else(world, motion):
    hand = np.array([0.0, 0.32, 0.99])
    move = motion(scene_at(world, hand, FRONT), GOAL)
    assert move.position[2] > 1.1 and np.allclose(move.position[:2], hand[:2])


def test_open_fingers_around_the_bar_close_before_they_pull(world):
    bar, out = bar_of(world)
    closing, pulling = (open_drawer(scene_at(world, bar, FRONT, opening), GOAL) for opening in (0.08, 0.02))
    assert closing.closed and (closing.position - bar) @ out < 0.01
    assert pulling.closed and (pulling.position - bar) @ out > 0.05


def test_a_hand_before_the_bar_comes_on_only_when_it_points_at_it(world):
    bar, out = bar_of(world)
    ready = open_drawer(scene_at(world, bar - 0.08 * FRONT[:, 2], FRONT), GOAL)
    beside = open_drawer(scene_at(world, bar - 0.08 * FRONT[:, 2] + [0.0, 0.0, 0.05], FRONT), GOAL)
    assert np.allclose(ready.position, bar, atol=1e-6) and not ready.closed
    assert np.linalg.norm(beside.position - bar) > 0.08


def test_a_fist_before_the_bar_pushes_into_the_cabinet(world):
    bar, out = bar_of(world)
    move = close_drawer(scene_at(world, bar + 0.03 * out - 0.008 * FIST[:, 2], FIST, 0.0), GOAL)
    assert move.closed and (move.position - bar) @ out < -0.03


def test_hands_keep_right_angles():
    for rotation in (FRONT, FIST, pitched(np.array([0.0, -1.0, 0.0]), 0.3)):
        assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.isclose(np.linalg.det(rotation), 1.0)
    assert np.isclose(angle(pitched(np.array([0.0, 1.0, 0.0]), 0.0), FRONT), GRASP_PITCH_RAD)


def test_a_drawer_is_pushed_out_from_inside_by_a_fist_across_it(world):
    inside, out = front(scene_at(world, (0, 0, 1.2), FRONT), GOAL), np.array([0.0, -1.0, 0.0])
    across = pitched_flat(-out, 0.0)
    pushing = widen_drawer(scene_at(world, inside, across, 0.0), GOAL)
    assert pushing.closed and (pushing.position - inside) @ out > 0.05
    for hand, rotation in ((inside + [0.0, 0.0, 0.08], across), (inside, pitched_flat(-out, 0.6))):
        coming = widen_drawer(scene_at(world, hand, rotation, 0.0), GOAL)
        assert (coming.position - inside) @ out < 0.0 and angle(coming.rotation, across) < 1e-6
