"""Objects of the built-in pack take up the room that the official collision shapes do."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from envs.pack.mjcf import object_xml
from envs.pack.table import OBJECTS

OFFICIAL_BOX_MM = {
    "alphabet_soup": ((-31.3, -27.5, -38.6), (31.1, 34.9, 37.6)),
    "tomato_sauce": ((-31.2, -27.5, -38.6), (31.0, 34.1, 37.6)),
    "bbq_sauce": ((-23.5, -14.6, -54.6), (23.5, 14.6, 52.5)),
    "butter": ((-38.1, -19.8, -8.7), (38.1, 19.8, 8.7)),
    "chocolate_pudding": ((-40.6, -23.2, -13.1), (39.6, 23.2, 14.3)),
    "cream_cheese": ((-40.6, -21.3, -8.9), (40.6, 21.3, 8.9)),
    "ketchup": ((-27.7, -19.1, -72.4), (28.6, 17.6, 73.2)),
    "milk": ((-26.5, -26.2, -69.8), (26.6, 26.2, 61.4)),
    "orange_juice": ((-26.6, -26.2, -69.8), (26.5, 26.2, 61.4)),
    "salad_dressing": ((-27.3, -17.6, -72.7), (25.4, 17.9, 72.8)),
    "cookies": ((-31.0, -41.3, -9.4), (31.0, 41.3, 9.4)),
    "new_salad_dressing": ((-27.3, -17.6, -22.7), (25.4, 17.9, 122.8)),
    "basket": ((-84.1, -78.5, 4.2), (85.4, 78.8, 145.7)),
    "akita_black_bowl": ((-53.8, -53.9, 1.6), (53.4, 53.1, 52.1)),
    "white_bowl": ((-40.8, -40.9, 0.6), (40.5, 40.3, 35.0)),
    "glazed_rim_porcelain_ramekin": ((-44.7, -44.4, 0.7), (44.7, 44.7, 42.7)),
    "plate": ((-68.0, -68.4, -2.5), (69.6, 69.1, 16.4)),
    "chefmate_8_frypan": ((-96.8, -103.2, 0.8), (259.3, 101.2, 58.7)),
    "moka_pot": ((-40.6, -56.3, -66.1), (40.8, 91.2, 85.7)),
    "porcelain_mug": ((-64.7, -49.4, 2.4), (60.0, 46.9, 108.5)),
    "red_coffee_mug": ((-60.7, -47.2, -1.8), (62.2, 46.0, 130.8)),
    "white_yellow_mug": ((-71.3, -52.9, -0.1), (68.5, 53.1, 103.1)),
    "wine_bottle": ((-20.7, -22.1, 1.1), (21.9, 22.2, 158.0)),
    "wooden_tray": ((-141.6, -87.6, -1.0), (155.5, 78.9, 80.9)),
    "black_book": ((-14.8, -67.3, 2.2), (13.9, 43.0, 136.6)),
    "yellow_book": ((-10.1, -48.8, 2.0), (13.4, 49.0, 124.2)),
    "desk_caddy": ((-75.5, -216.9, 1.4), (75.5, 216.9, 168.3)),
    "wooden_two_layer_shelf": ((-170.8, -79.2, 0.2), (180.7, 111.7, 210.6)),
    "wine_rack": ((-134.4, -124.4, -2.2), (134.4, 129.5, 328.2)),
    "wooden_cabinet": ((-123.3, -109.3, 4.6), (131.2, 111.7, 223.0)),
    "white_cabinet": ((-123.3, -109.3, 4.6), (131.2, 111.7, 223.0)),
    "flat_stove": ((-52.0, -95.0, -20.0), (245.0, 95.0, 50.0)),
    "microwave": ((-172.5, -152.0, 0.0), (172.5, 111.0, 188.5)),
}
"""Category -> lowest and highest corner of the official collision shape about the object's origin, standing upright.

Measured from the models that LIBERO compiles of its own assets.
"""

UPRIGHT = {"z": np.eye(3), "y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])}
"""Rotation from the object's frame to the upright one, by the axis that points up at rest."""


def collision_corners_mm(name: str) -> np.ndarray:
    """float64[N, 3]: corners of everything that collides, in the upright frame; all of it is boxes."""
    import mujoco  # not above: the renderer is chosen before MuJoCo is imported

    model = mujoco.MjModel.from_xml_string(object_xml(name, OBJECTS[name]))
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    signs = np.array(list(product((-1, 1), repeat=3)))
    corners = [
        (signs * model.geom_size[k]) @ data.geom_xmat[k].reshape(3, 3).T + data.geom_xpos[k]
        for k in np.flatnonzero(model.geom_group == 0)
    ]
    return 1000 * np.concatenate(corners) @ UPRIGHT[OBJECTS[name].up].T


def test_every_object_of_the_pack_is_compared():
    assert set(OFFICIAL_BOX_MM) == set(OBJECTS)


@pytest.mark.parametrize("name", OBJECTS)
def test_footprints_and_heights_are_within_two_millimetres_of_the_official_ones(name):
    corners = collision_corners_mm(name)
    assert (corners.min(axis=0), corners.max(axis=0)) == (
        pytest.approx(OFFICIAL_BOX_MM[name][0], abs=2.0), pytest.approx(OFFICIAL_BOX_MM[name][1], abs=2.0))
