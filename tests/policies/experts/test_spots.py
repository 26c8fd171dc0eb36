"""Where things are let go, in hand-made worlds."""

from __future__ import annotations

import numpy as np

from policies.experts.scene import Goal
from policies.experts.spots import spot_of

MIDDLE = (0.15, 0.10, 0.895)
GOAL = Goal("on", "butter_1", "main_table_side_region", "", False)


def side(world, **things):
    return world(goals=(GOAL,), things={"butter_1": ((-0.1, 0.1, 0.909), (0.04, 0.02, 0.009)), **things},
                 regions={"main_table_side_region": (MIDDLE, (0.05, 0.05, 0.007))})


def test_an_empty_region_of_the_table_is_filled_in_its_middle(world):
    assert np.allclose(spot_of(side(world), GOAL).position[:2], MIDDLE[:2])


def test_beside_something_an_object_is_let_go_where_the_hand_has_room(world):
    mug = {"mug_1": ((0.15, 0.0, 0.95), (0.04, 0.04, 0.05))}
    spot = spot_of(side(world, **mug), GOAL).position
    assert spot[1] > MIDDLE[1] + 0.02 and (abs(spot[:2] - MIDDLE[:2]) < 0.04).all()


def test_in_a_drawer_below_others_a_bowl_is_let_go_midway_between_its_front_and_the_handle_above(world):
    goal = Goal("in", "bowl_1", "cabinet_1_bottom_region", "", False)
    spots = []
    for joint in (-0.16, -0.15):
        scene = world(goals=(goal,), joints={"cabinet_1_bottom_level": joint},
                      things={"bowl_1": ((-0.1, 0.1, 0.92), (0.05, 0.05, 0.02)),
                              "cabinet_1": ((0.0, 0.3, 1.0), (0.13, 0.09, 0.1))},
                      regions={goal.target: ((0.0, 0.311 + joint, 0.95), (0.03, 0.07, 0.1))})
        spots.append(spot_of(scene, goal).position[1])
    # The front's inner face moves with the drawer, the handle stays.
    assert np.isclose(spots[1] - spots[0], 0.005) and np.isclose(spots[0], 0.311 - 0.16 - 0.0183, atol=1e-3)
