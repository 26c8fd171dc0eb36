from __future__ import annotations

import numpy as np

from policies.experts.grasps import GRASPS, best_hold, holds, turn_between
from policies.experts.scene import DOWN

BOWL = ((-0.1, 0.0, 0.925), (0.053, 0.053, 0.025))
SPOT = np.array([0.05, 0.1, 0.91])


def test_two_fingers_are_the_same_either_way_round():
    half = np.diag([-1.0, -1.0, 1.0])
    assert turn_between(DOWN, half @ DOWN) < 1e-6


def test_a_long_box_is_taken_across_its_narrow_side(world):
    scene = world(things={"butter_1": ((0.0, 0.0, 0.909), (0.038, 0.02, 0.009))})
    assert all(abs(hold.rotation[1, 1]) > 0.99 for hold in holds(scene, "butter_1"))


def test_a_bowl_is_taken_at_its_rim_and_not_on_the_side_of_a_tall_neighbour(world):
    scene = world(things={"akita_black_bowl_1": BOWL})
    free = best_hold(scene, "akita_black_bowl_1", SPOT)
    assert np.isclose(np.linalg.norm((free.position - scene.positions["akita_black_bowl_1"])[:2]),
                      GRASPS["akita_black_bowl"].radius_m)
    wall = ((free.position[0], 1.35 * free.position[1], 1.0), (0.05, 0.01, 0.1))
    other = best_hold(world(things={"akita_black_bowl_1": BOWL, "wall_1": wall}), "akita_black_bowl_1", SPOT)
    assert np.linalg.norm(other.position - free.position) > 0.02


def test_no_mug_is_taken_at_its_handle(world):
    scene = world(things={"red_coffee_mug_1": ((0.0, 0.0, 0.965), (0.05, 0.05, 0.065))})
    assert max(hold.position[0] for hold in holds(scene, "red_coffee_mug_1")) < 0.02


def test_a_hand_that_is_at_a_hold_stays_with_it(world):
    scene = world(things={"akita_black_bowl_1": BOWL})
    for hold in list(holds(scene, "akita_black_bowl_1"))[::5]:
        there = world(hand=hold.position, rotation=hold.rotation, things={"akita_black_bowl_1": BOWL})
        assert np.allclose(best_hold(there, "akita_black_bowl_1", SPOT).position, hold.position)


def test_a_hand_that_is_at_a_hold_leaves_it_when_something_is_there_between_its_fingers(world):
    scene = world(things={"akita_black_bowl_1": BOWL})
    hold = best_hold(scene, "akita_black_bowl_1", SPOT)
    outside = hold.position + 0.05 * np.sign(hold.position[1]) * np.array([0.0, 1.0, 0.0])
    wall = (outside, (0.05, 0.005, 0.03))
    there = world(hand=hold.position, rotation=hold.rotation, things={"akita_black_bowl_1": BOWL, "wall_1": wall})
    assert np.linalg.norm(best_hold(there, "akita_black_bowl_1", SPOT).position - hold.position) > 0.02
