"""Both ways to compute the physics play the stock environment's episodes; `make parity` plays 300 actions of each."""

from __future__ import annotations

import numpy as np
import pytest

from bench import parity
from envs.libero.env import assets_folder, open_scene, tasks

pytestmark = pytest.mark.libero

ACTIONS = 16
"""Two decisions: objects fall and come to rest, and the arm sets out."""


def test_two_tasks_of_each_main_suite_are_compared():
    suites = [suite for suite, _ in parity.MOVES]
    assert {suite: suites.count(suite) >= 2 for suite in suites} == dict.fromkeys(
        ("libero_spatial", "libero_object", "libero_goal", "libero_10"), True)


@pytest.mark.parametrize(("suite", "index"), [
    ("libero_spatial", 4), ("libero_object", 7), ("libero_goal", 7), ("libero_10", 9),
])
def test_physics_success_and_pictures_are_those_of_a_fresh_stock_environment(suite, index):
    found = parity.compare(suite, index, ACTIONS)
    assert found.exact_equal and found.success_equal and found.images_equal
    assert found.fast_difference <= parity.TOLERANCE and found.fast_within == ACTIONS


def test_furniture_moves_lights_change_and_goals_are_reached_in_the_same_step():
    """The slow part of a comparison, without the stock environment, whose bits "exact" has."""
    task, assets = tasks("libero_goal")[7], assets_folder("builtin")
    fast, exact = (open_scene(task, assets, True, stepping) for stepping in ("fast", "exact"))
    moves = parity.actions(fast, parity.MOVES["libero_goal", 7], 110)
    (light,) = fast.facts.lights
    seen = {}
    for scene in (fast, exact):
        scene.place(parity.INIT_STATE, parity.SEED)
        seen[scene.stepping] = [(scene.advance(move), float(scene.model.site_rgba[light.site, 3])) for move in moves]
        scene.close()
    success, alpha = np.array(seen["exact"]).T
    assert seen["fast"] == seen["exact"] and success.any() and not success[0]
    # A light is switched in the step after, as in the stock environment's pictures.
    assert (alpha[1:] > 0).tolist() == success[:-1].astype(bool).tolist()
