"""Pushing a plate from hand-made states: over it and down behind it with an open hand, then along the way."""

from __future__ import annotations

import numpy as np

from policies.experts.push import BEHIND_M, push
from policies.experts.scene import Goal

PLATE = np.array([0.05, -0.02, 0.908])
GOAL = Goal("on", "plate_1", "main_table_stove_front_region", "", False)
ONWARD = np.array([-0.6, 0.8, 0.0])


def seen(world, hand, rotation=None, plate=PLATE):
    spot = PLATE + 0.25 * ONWARD
    turn = {} if rotation is None else {"rotation": rotation}
    return world(hand=hand, goals=(GOAL,), things={"plate_1": (plate, (0.067, 0.067, 0.008))},
                 regions={"main_table_stove_front_region": ((*spot[:2], 0.895), (0.04, 0.04, 0.007))}, **turn)


def test_the_open_hand_comes_down_behind_the_plate_with_its_fingers_across_the_way(world):
    far = push(seen(world, (-0.2, 0.0, 1.17)), GOAL)
    assert not far.closed and far.position[2] > 0.95
    assert abs(far.rotation[:, 1] @ ONWARD) < 1e-6 and far.rotation[:, 2] @ ONWARD < -0.3
    start = PLATE - (BEHIND_M + 0.02) * ONWARD
    near = push(seen(world, (*start[:2], 0.94), far.rotation), GOAL)
    assert (near.position - PLATE) @ ONWARD < -BEHIND_M and near.position[2] < 0.94


def test_a_low_hand_behind_the_plate_pushes_it_along_and_stays_low(world):
    start = PLATE - BEHIND_M * ONWARD
    move = push(seen(world, (*start[:2], 0.915)), GOAL)
    assert (move.position - start) @ ONWARD > 0.02 and abs(move.position[2] - 0.911) < 0.002 and not move.closed


def test_a_hand_beside_the_way_comes_over_the_plate_again(world):
    beside = PLATE - BEHIND_M * ONWARD + 0.05 * np.array([0.8, 0.6, 0.0])
    assert push(seen(world, (*beside[:2], 0.915)), GOAL).position[2] > 0.94
