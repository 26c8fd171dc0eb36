"""Each condition of a goal says what LIBERO's own code says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.libero.env import assets_folder
from envs.libero.goal import InSite, JointsAt, OnObject, OnSite, from_json, to_json
from envs.libero.process import prepare

pytestmark = pytest.mark.libero

HALF = (0.1, 0.06, 0.03)
near = st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=3)


def world(origin, turn, pairs=()) -> SimpleNamespace:
    """Stands for MuJoCo's data: body 1 is the object, body 2 what it may lie on, site 0 the region."""
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.array([[c, -s, 0, s, c, 0, 0, 0, 1.0]])
    return SimpleNamespace(
        xpos=np.array([[0.0, 0, 0], origin, [0.02, 0.01, 0.0]]), site_xpos=np.array([[0.01, -0.02, 0.03]]),
        site_xmat=matrix, contact=SimpleNamespace(geom=np.array(pairs, dtype=np.int32).reshape(-1, 2)))


@pytest.fixture(scope="module")
def region():
    """LIBERO's region object."""
    prepare(assets_folder("builtin"))
    from libero.libero.envs.objects.site_object import SiteObject

    return SiteObject("region", size=np.array(HALF))


@given(origin=near, turn=st.floats(-4, 4))
def test_a_region_contains_and_carries_what_libero_says(region, origin, turn):
    data = world(origin, turn)
    place = data.site_xpos[0], data.site_xmat[0].reshape(3, 3), data.xpos[1]
    assert InSite(1, 0, HALF).holds(data) == bool(region.in_box(*place))
    assert OnSite(1, 0, HALF, (5,), None).holds(data) == bool(region.under(*place))


def test_a_region_of_furniture_carries_only_what_touches_the_furniture():
    condition = OnSite(1, 0, HALF, (5, 6), (8,))
    above = [0.01, -0.02, 0.09]
    assert not condition.holds(world(above, 0.0, [(5, 6), (8, 3)]))
    assert condition.holds(world(above, 0.0, [(5, 6), (8, 6)]))


@pytest.mark.parametrize(("origin", "pairs", "on"), [
    ((0.02, 0.01, 0.05), [(7, 5)], True), ((0.02, 0.01, 0.05), [(5, 7)], True), ((0.02, 0.01, 0.05), [], False),
    ((0.02, 0.01, -0.01), [(5, 7)], False), ((0.06, 0.01, 0.05), [(5, 7)], False),
])
def test_an_object_is_on_another_if_it_touches_it_from_above_its_middle(origin, pairs, on):
    assert OnObject(1, (5,), 2, (7,)).holds(world(origin, 0.0, pairs)) is on


@pytest.mark.parametrize(("name", "predicate", "expected"), [
    ("WoodenCabinet", "open", ("<", -0.14)), ("WoodenCabinet", "close", (">", 0.0)), ("Microwave", "open", ("<", -1.3)),
    ("Microwave", "close", (">", -0.005)), ("ShortFridge", "open", (">", 2.0)), ("ShortFridge", "close", ("<", 0.0)),
    ("FlatStove", "turnon", (">=", 0.5)), ("FlatStove", "turnoff", ("<", 0.0)),
])
def test_the_limit_of_a_fixture_is_found_by_asking_its_class(region, name, predicate, expected):
    from libero.libero.envs.objects import articulated_objects

    from envs.libero.export import _LIMITS, _limit

    ranges = {
        "WoodenCabinet": {"default_open_ranges": [-0.16, -0.14], "default_close_ranges": [0.0, 0.005]},
        "Microwave": {"default_open_ranges": [-2.094, -1.3], "default_close_ranges": [-0.005, 0.0]},
        "ShortFridge": {"default_open_ranges": [2.0, 2.7], "default_close_ranges": [-0.005, 0.0]},
        "FlatStove": {"default_turnon_ranges": [0.5, 2.1], "default_turnoff_ranges": [-0.005, 0.0]},
    }[name]
    fixture = SimpleNamespace(naming_prefix="f_", object_properties={"articulation": ranges, "vis_site_names": {}})
    method, key, _ = _LIMITS[predicate]
    asked = getattr(getattr(articulated_objects, name), method).__get__(fixture)
    assert _limit(asked, ranges[key]) == expected


@pytest.mark.parametrize(("q", "any_joint", "holds"), [
    ((-0.15, 0.0), True, True), ((-0.15, 0.0), False, False), ((-0.15, -0.2), False, True), ((-0.14, 0.0), True, False),
])
def test_a_fixture_is_open_if_one_joint_is_and_closed_if_all_are(q, any_joint, holds):
    assert JointsAt((1, 3), "<", -0.14, any_joint).holds(SimpleNamespace(qpos=np.array([9, q[0], 9, q[1]]))) is holds


@pytest.mark.parametrize("condition", [
    InSite(1, 0, HALF), OnSite(1, 0, HALF, (5, 6), None), OnObject(1, (5,), 2, (7, 8)), JointsAt((9,), ">", 0.0, False),
])
def test_a_condition_survives_json(condition):
    import json

    assert from_json(json.loads(json.dumps(to_json(condition)))) == condition
