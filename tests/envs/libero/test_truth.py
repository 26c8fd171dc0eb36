"""What scripted experts are told: names as in the problem file, goals as LIBERO judges them."""

from __future__ import annotations

import numpy as np
import pytest

from envs.libero.env import open_task
from envs.types import OSC_POSE

pytestmark = pytest.mark.libero


@pytest.fixture
def truth():
    """Privileged state of the first init state of a task."""
    opened = []

    def _truth(suite: str, index: int) -> dict[str, np.ndarray]:
        opened.append(open_task(suite, index, 0, "builtin", privileged=True))
        opened[-1].reset(0, 0, observe=False)
        return opened[-1].step(np.array(OSC_POSE.hold)).observation.privileged

    yield _truth
    for env in opened:
        env.close()


def test_goals_are_those_of_the_problem_file(truth):
    seen = truth("libero_10", 3)
    assert sorted(map(tuple, seen["goals"].tolist())) == [
        ("close", "white_cabinet_1", "white_cabinet_1_bottom_region", "white_cabinet_1_bottom_level"),
        ("in", "akita_black_bowl_1", "white_cabinet_1_bottom_region", "")]
    assert not seen["holds"].any()


def test_everything_that_has_a_name_has_a_place_and_objects_lie_on_the_table(truth):
    seen = truth("libero_10", 2)
    names = seen["instances"].tolist() + seen["regions"].tolist()
    assert {"moka_pot_1", "flat_stove_1", "flat_stove_1_cook_region"} <= set(names)
    assert seen["positions"].shape == (len(names), 3) and seen["rotations"].shape == (len(names), 3, 3)
    pot = seen["part_owner"] == names.index("moka_pot_1")
    reach = (abs(seen["part_rotations"][pot]) @ seen["part_halves"][pot][..., None])[..., 0]
    assert np.isclose((seen["part_centres"][pot] - reach)[:, 2].min(), 0.9, atol=2e-3)
    assert seen["joints"].tolist() == ["flat_stove_1_button"] and not seen["grasped"].any()
    assert ("turnon", "flat_stove_1", "", "flat_stove_1_button") in map(tuple, seen["goals"].tolist())
