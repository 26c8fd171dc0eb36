from __future__ import annotations

import dataclasses

import pytest

from policies.experts.drive import yawed
from policies.experts.under import way_out

BOWL = ((0.0, 0.0, 0.93), (0.05, 0.05, 0.03))


def under(world, shelf_x, shelf_z=1.05):
    return world(hand=(0.0, 0.05, 0.94), held=("bowl_1",),
                 things={"bowl_1": BOWL, "shelf_1": ((shelf_x, 0.0, shelf_z), (0.1, 0.3, 0.01))})


@pytest.fixture
def furniture(world):
    """A bowl in the hand, and a board over it that is not an object."""
    def build(*args):
        scene = under(world, *args)
        del scene.grasped["shelf_1"]
        return scene
    return build


def test_the_shortest_way_out_leaves_the_board_behind(furniture):
    shift = way_out(furniture(0.13), "bowl_1")
    assert shift[0] < -0.02 and shift[1] == 0.0 and shift[2] > 0.0


def test_a_free_sky_needs_no_way_out(furniture):
    assert way_out(furniture(0.3), "bowl_1") is None
    assert way_out(furniture(0.0, 1.5), "bowl_1") is None


def test_what_the_object_stands_on_is_not_over_it(furniture):
    assert way_out(furniture(0.0, 0.89), "bowl_1") is None


def test_a_turned_board_is_over_what_it_covers_and_not_over_what_its_extent_does(furniture):
    scene = furniture(0.13)
    board = scene.parts["shelf_1"]
    turned = dataclasses.replace(board, rotations=yawed(-0.5)[None])
    scene.parts["shelf_1"] = turned
    assert scene.parts["shelf_1"].corners()[0, 0, 0] < -0.05
    assert way_out(scene, "bowl_1") is not None
    scene.parts["shelf_1"] = dataclasses.replace(turned, centres=board.centres + [0.1, 0, 0])
    assert scene.parts["shelf_1"].corners()[0, 0, 0] < 0.05
    assert way_out(scene, "bowl_1") is None
