from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from envs.types import Observation
from policies.experts.scene import Parts, kind, scene_of


def test_without_privileged_state_a_scene_says_how_to_get_it():
    with pytest.raises(ValueError, match="privileged=True"):
        scene_of(Observation({}, np.zeros(8, np.float32), "x"))


def test_an_instance_has_the_kind_that_its_name_begins_with():
    assert kind("akita_black_bowl_2") == "akita_black_bowl"


def test_boxes_overlap_if_they_share_a_point_of_a_fine_grid():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 15)] * 3), axis=-1).reshape(-1, 3)
    found = 0
    for _ in range(60):
        one, other = (Parts(rng.normal(0, 0.6, (1, 3)), Rotation.random(1, rng=rng).as_matrix(),
                            rng.uniform(0.2, 0.8, (1, 3))) for _ in range(2))
        points = one.centres[0] + (grid * one.halves[0]) @ one.rotations[0].T
        shared = (abs((points - other.centres[0]) @ other.rotations[0]) <= other.halves[0]).all(axis=1).any()
        found += shared
        assert not shared or one.overlaps(other)[0, 0]
    assert 10 < found < 50


def test_boxes_with_a_gap_along_a_face_or_between_two_edges_do_not_overlap():
    cube = Parts(np.zeros((1, 3)), np.eye(3)[None], np.full((1, 3), 0.5))
    assert not cube.overlaps(cube.moved(np.array([1.01, 0.0, 0.0]), np.eye(3)))[0, 0]
    tipped = Rotation.from_euler("zx", (45, 45), degrees=True).as_matrix()
    across = cube.moved(np.array([0.0, 1.15, 1.15]), tipped)
    assert not cube.overlaps(across)[0, 0] and cube.overlaps(across.moved(np.array([0.0, -0.3, -0.3]), np.eye(3)))[0, 0]
