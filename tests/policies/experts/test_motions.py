from __future__ import annotations

import numpy as np
import pytest

from policies.experts.expert import focus
from policies.experts.motions import current, destination, motion_of
from policies.experts.place import transport
from policies.experts.push import push
from policies.experts.scene import Goal
from policies.experts.shelve import shelve

BOX = ((0.0, 0.0, 0.95), (0.03, 0.03, 0.05))
INTO = Goal("in", "butter_1", "white_cabinet_1_top_region", "", False)
SHUT = Goal("close", "white_cabinet_1", "white_cabinet_1_top_region", "white_cabinet_1_top_level", False)


def cabinet(world, goals, joint=-0.15, held=()):
    return world(goals=goals, held=held, joints={"white_cabinet_1_top_level": joint},
                 things={"butter_1": BOX, "white_cabinet_1": ((0.2, 0.3, 1.0), (0.1, 0.1, 0.1))},
                 regions={"white_cabinet_1_top_region": ((0.2, 0.15, 1.08), (0.03, 0.07, 0.1))})


def test_a_drawer_is_filled_before_it_is_closed(world):
    assert current(cabinet(world, (SHUT, INTO))) == INTO


def test_a_closed_drawer_is_opened_before_it_is_filled_unless_the_object_is_in_hand(world):
    opening = current(cabinet(world, (INTO,), joint=0.0))
    assert (opening.predicate, opening.joint) == ("open", "white_cabinet_1_top_level")
    assert current(cabinet(world, (INTO,), joint=0.0, held=("butter_1",))) == INTO


@pytest.mark.parametrize(("joint", "motion"), [(0.0, "open"), (-0.14, "widen"), (-0.16, "in")])
def test_a_drawer_below_others_is_opened_all_the_way_before_it_is_filled(world, joint, motion):
    goal = Goal("in", "butter_1", "white_cabinet_1_bottom_region", "", False)
    scene = world(goals=(goal,), joints={"white_cabinet_1_bottom_level": joint},
                  things={"butter_1": BOX, "white_cabinet_1": ((0.2, 0.3, 1.0), (0.1, 0.1, 0.1))},
                  regions={"white_cabinet_1_bottom_region": ((0.2, 0.15, 0.95), (0.03, 0.07, 0.1))})
    assert current(scene).predicate == motion


def test_an_object_in_hand_is_let_go_before_the_next_goal(world):
    done = Goal("in", "butter_1", "white_cabinet_1_top_region", "", True)
    assert current(cabinet(world, (done, SHUT), held=("butter_1",))) == done
    assert current(cabinet(world, (done, SHUT))) == SHUT


@pytest.mark.parametrize(("goal", "motion"), [
    (INTO, transport), (Goal("on", "plate_1", "main_table_stove_front_region", "", False), push),
    (Goal("in", "white_yellow_mug_1", "microwave_1_heating_region", "", False), shelve)])
def test_the_table_names_the_motion_of_a_goal(goal, motion):
    assert motion_of(goal) is motion


def test_focus_is_where_the_object_is_and_where_it_should_go_seen_from_the_hand(world):
    scene = cabinet(world, (INTO,))
    seen = focus(scene)
    assert seen.dtype == np.float32 and seen.shape == (7,) and seen[6] == 0.0
    assert np.allclose(seen[:3], scene.positions["butter_1"] - scene.hand, atol=1e-6)


def test_focus_on_a_drawer_is_its_bar_which_moves_out_to_be_open(world):
    scene = cabinet(world, (), joint=0.0)
    here, there, held = destination(scene, Goal("open", *(SHUT.subject, SHUT.target, SHUT.joint), False))
    assert np.allclose(there - here, [0.0, -0.15, 0.0]) and not held
