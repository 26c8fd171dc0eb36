"""Pick-and-place from hand-made states: over, down, close, up, across, down, open."""

from __future__ import annotations

import numpy as np

from policies.experts.grasps import GRASPS
from policies.experts.place import transport
from policies.experts.scene import Goal

BUTTER, PLATE = (-0.1, 0.1, 0.9087), (0.05, -0.1, 0.908)
GOAL = Goal("on", "butter_1", "plate_1", "", False)


def seen(world, hand, butter=BUTTER, held=(), opening_m=0.08, **things):
    return world(hand=hand, goals=(GOAL,), held=held, opening_m=opening_m, things={
        "butter_1": (butter, (0.038, 0.0197, 0.0087)), "plate_1": (PLATE, (0.06, 0.06, 0.008)), **things})


def test_far_away_the_hand_moves_over_the_object_with_an_open_gripper(world):
    move = transport(seen(world, (-0.2, 0.0, 1.17)), GOAL)
    assert np.allclose(move.position[:2], BUTTER[:2]) and move.position[2] > 0.92 and not move.closed


def test_over_the_object_the_hand_goes_down_and_at_the_bottom_it_closes(world):
    over = transport(seen(world, (-0.1, 0.1, 0.96)), GOAL)
    assert over.position[2] < 0.92 and not over.closed
    assert transport(seen(world, (-0.1, 0.1, over.position[2])), GOAL).closed


def test_a_low_hand_beside_the_object_rises_before_it_moves_across(world):
    move = transport(seen(world, (0.0, 0.1, 0.91)), GOAL)
    assert move.position[2] - 0.91 > abs(move.position[0])


def test_a_held_object_is_lifted_carried_and_let_go_over_its_spot(world):
    lift = transport(seen(world, (-0.1, 0.1, 0.912), held=("butter_1",)), GOAL)
    assert lift.position[2] > 0.93 and lift.closed
    across = transport(seen(world, (-0.1, 0.1, 0.99), (-0.1, 0.1, 0.987), ("butter_1",)), GOAL)
    assert np.allclose(across.position[:2], PLATE[:2]) and across.closed
    there = (*PLATE[:2], 0.929)
    assert not transport(seen(world, there, (*PLATE[:2], 0.926), ("butter_1",)), GOAL).closed


def test_the_hand_waits_for_what_falls_onto_its_spot(world):
    move = transport(seen(world, (*PLATE[:2], 0.94), (*PLATE[:2], 0.930), opening_m=0.05), GOAL)
    assert not move.closed and move.position[2] > 0.94


def test_what_stands_on_the_way_is_passed_over(world):
    wall = {"box_1": ((-0.02, 0.0, 1.0), (0.02, 0.02, 0.1))}
    held, hand = ("butter_1",), (-0.1, 0.1, 1.0)
    free = transport(seen(world, hand, (-0.1, 0.1, 0.997), held), GOAL).position[2]
    assert transport(seen(world, hand, (-0.1, 0.1, 0.997), held, **wall), GOAL).position[2] > max(free, 1.1)


def test_fingers_that_closed_on_nothing_open_again_above(world):
    move = transport(seen(world, (-0.1, 0.1, 0.912), opening_m=0.001), GOAL)
    assert not move.closed and move.position[2] > 0.92


def test_a_hand_that_its_closing_fingers_push_aside_stays(world):
    assert transport(seen(world, (-0.083, 0.1, 0.925), opening_m=0.05), GOAL).closed
    assert not transport(seen(world, (-0.083, 0.1, 0.925), opening_m=0.08), GOAL).closed


def test_a_wall_between_the_fingers_that_is_not_held_is_lifted_loose(world):
    goal, (x, y, z) = Goal("on", "akita_black_bowl_1", "plate_1", "", False), (-0.1, 0.1, 0.9)
    bowl = {"akita_black_bowl_1": ((x, y, z + 0.025), (0.055, 0.055, 0.025)), "plate_1": (PLATE, (0.06, 0.06, 0.008))}
    rim = (x, y + GRASPS["akita_black_bowl"].radius_m, z + GRASPS["akita_black_bowl"].height_m)
    jammed = transport(world(hand=rim, goals=(goal,), opening_m=0.016, things=bowl), goal)
    assert jammed.closed and 0.0 < jammed.position[2] - rim[2] < 0.005
    closing = transport(world(hand=rim, goals=(goal,), opening_m=0.05, things=bowl), goal)
    assert closing.closed and closing.position[2] <= rim[2]
