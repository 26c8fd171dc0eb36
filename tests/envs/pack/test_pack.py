"""The built-in pack fits LIBERO's own files: names, init states, resting heights."""

from __future__ import annotations

import numpy as np
import pytest

from envs.libero.env import assets_folder, open_task, tasks
from envs.pack.build import digest, ensure
from envs.types import OSC_POSE

REST_HEIGHT_M = {
    "alphabet_soup": 0.0386, "tomato_sauce": 0.0386, "bbq_sauce": 0.0546, "butter": 0.0087, "chocolate_pudding": 0.0131,
    "cream_cheese": 0.0089, "ketchup": 0.0724, "milk": 0.0698, "orange_juice": 0.0698, "salad_dressing": 0.0727,
    "basket": -0.0042,
}
"""Height of each official object's origin above the floor once it has settled."""


def test_a_pack_is_built_once_and_named_by_its_sources(tmp_path):
    first = ensure(tmp_path)
    stamp = (first / "scenes" / "libero_floor_base_style.xml").stat().st_mtime_ns
    assert first.name == f"builtin-{digest()[:12]}" and ensure(tmp_path) == first
    assert (first / "scenes" / "libero_floor_base_style.xml").stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_the_robots_lean_look_has_at_most_six_thousand_faces():
    import trimesh

    meshes = [f for f in (assets_folder("builtin") / "robot").rglob("*.stl") if "mount" not in str(f)]
    assert 1_000 < sum(len(trimesh.load(mesh, force="mesh").faces) for mesh in meshes) <= 6_000


@pytest.mark.libero
@pytest.mark.parametrize("index", range(10))
def test_every_official_init_state_fits_and_settles_at_the_official_heights(index):
    env = open_task("libero_object", index, 0, "builtin", privileged=False)
    scene = env.scene
    assert scene.states.shape == (50, 1 + scene.model.nq + scene.model.nv)
    for init_state in (0, 17, 49):
        env.reset(init_state, 0, observe=False)
        assert not scene.succeeded()
        for _ in range(10):
            env.step(np.array(OSC_POSE.hold), observe=False)
        for instance in scene.facts.objects:
            official = REST_HEIGHT_M[instance.rsplit("_", 1)[0]]
            assert scene.pose(instance)[2] == pytest.approx(official, abs=0.002), instance
    env.close()


def test_tasks_are_listed_without_the_simulator():
    listed = tasks("libero_object")
    assert len(listed) == 10
    assert listed[7].instruction == "pick up the milk and place it in the basket"
