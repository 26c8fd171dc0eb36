"""The handle of the mug in these scenes is towards +x, so the hand comes from there; the microwave opens towards -y."""

from __future__ import annotations

import numpy as np

from policies.experts.approach import pitched_flat
from policies.experts.scene import Goal
from policies.experts.shelve import BAR_M, INSIDE_M, PITCH_RAD, shelve

GOAL = Goal("in", "mug_1", "microwave_1_heating_region", "", False)
OVEN, MUG = np.array([0.0, 0.4, 0.92]), np.array([0.0, -0.1, 0.9])
TAKING = pitched_flat(np.array([-1.0, 0.0, 0.0]), PITCH_RAD)


def scene_at(world, hand, rotation, mug=MUG, held=()):
    return world(hand=hand, rotation=rotation, held=held, things={
        "mug_1": (mug + [0.0, 0.0, 0.05], (0.05, 0.05, 0.05)),
        "microwave_1": (OVEN + [0.0, 0.0, 0.09], (0.17, 0.11, 0.09))})


def test_the_mug_is_taken_by_its_handle(world):
    handle = MUG + BAR_M
    coming, there = (shelve(scene_at(world, handle - back * TAKING[:, 2], TAKING), GOAL) for back in (0.06, 0.0))
    assert np.allclose(coming.position, handle) and not coming.closed and there.closed


def test_a_held_mug_rises_before_it_moves(world):
    hand = MUG + BAR_M
    move = shelve(scene_at(world, hand, TAKING, held=("mug_1",)), GOAL)
    assert move.closed and move.position[2] > hand[2] + 0.03
    assert np.linalg.norm((move.position - hand)[:2]) < 0.3 * np.linalg.norm((OVEN + INSIDE_M - hand)[:2])


def test_it_is_let_go_inside_the_opening(world):
    hand = OVEN + INSIDE_M
    move = shelve(scene_at(world, hand, TAKING, mug=hand - BAR_M, held=("mug_1",)), GOAL)
    assert not move.closed
