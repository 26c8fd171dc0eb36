"""The built-in pack fits LIBERO's own files: names, init states, resting heights."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from envs.libero.env import assets_folder, open_task, tasks
from envs.libero.scene import LiberoScene
from envs.libero.suite import SUITES
from envs.pack.build import digest, ensure
from envs.pack.mjcf import object_xml
from envs.pack.scenes import SCENES
from envs.pack.table import OBJECTS
from envs.types import OSC_POSE

REST_HEIGHT_M = {
    "alphabet_soup": 0.0386, "tomato_sauce": 0.0386, "bbq_sauce": 0.0546, "butter": 0.0087, "chocolate_pudding": 0.0131,
    "cream_cheese": 0.0089, "ketchup": 0.0724, "milk": 0.0698, "orange_juice": 0.0698, "salad_dressing": 0.0727,
    "basket": -0.0042, "akita_black_bowl": -0.0016, "white_bowl": -0.0006, "plate": 0.0025, "cookies": 0.0094,
    "glazed_rim_porcelain_ramekin": -0.0007, "chefmate_8_frypan": -0.0008, "moka_pot": 0.0661, "porcelain_mug": -0.0024,
    "red_coffee_mug": 0.0018, "white_yellow_mug": 0.0001, "wine_bottle": -0.0011, "wooden_tray": 0.0006,
    "new_salad_dressing": 0.0227, "black_book": -0.0021, "yellow_book": -0.0019,
}
"""Height of each official object's origin above its table or floor once it has settled."""

SUPPORT_M = {"main_table": 0.9, "kitchen_table": 0.9, "living_room_table": 0.4368, "study_table": 0.8851, "floor": 0.0}
"""Height of what objects stand on, by LIBERO's name of the workspace."""

TRAINED_ON = "b21aab1f9b218aebfa05b363dc163c0794ced2e06a876af208e25f957165f61c"
"""SHA-256 of every object and room of the pack: the pocket policies know no other pictures and no other physics."""

SAMPLE = (
    ("libero_spatial", 0), ("libero_spatial", 5), ("libero_spatial", 9), ("libero_goal", 0), ("libero_goal", 9),
    ("libero_10", 0), ("libero_10", 2), ("libero_10", 4), ("libero_10", 5), ("libero_10", 6), ("libero_10", 9),
    ("libero_90", 35), ("libero_90", 44), ("libero_90", 60), ("libero_90", 88),
)
"""Tasks that between them show every object and every room."""

JOINT_GOALS = (
    ("libero_goal", 0, "middle_level", -1), ("libero_goal", 7, "button", 1), ("libero_90", 0, "top_level", 1),
    ("libero_90", 6, "bottom_level", -1), ("libero_90", 22, "bottom_level", 1), ("libero_90", 33, "microjoint", 1),
    ("libero_90", 35, "microjoint", -1), ("libero_90", 39, "button", -1),
)
"""Tasks whose goal is a joint: suite, task, joint, and the direction to push."""


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


@pytest.mark.libero
@pytest.mark.parametrize(("suite", "index"), SAMPLE)
def test_objects_of_every_suite_settle_at_the_official_heights(suite, index):
    scene = LiberoScene(tasks(suite)[index], assets_folder("builtin"), lean=True)
    assert scene.states.shape == (50, 1 + scene.model.nq + scene.model.nv)
    workspace = scene.problem.workspace_name
    places = {p[1]: p[2] for p in scene.problem.parsed_problem["initial_state"] if p[0] in ("on", "in")}
    scene.place(0, 0)
    assert not scene.problem._check_success()
    for _ in range(10):
        scene.advance(np.array(OSC_POSE.hold))
    for instance in scene.problem.objects_dict:
        if places[instance].startswith(workspace):
            official = SUPPORT_M[workspace] + REST_HEIGHT_M[instance.rsplit("_", 1)[0]]
            assert scene.pose(instance)[2] == pytest.approx(official, abs=0.002), instance
    scene.close()


@pytest.mark.libero
@pytest.mark.parametrize(("suite", "index", "joint", "way"), JOINT_GOALS)
def test_drawers_doors_and_knobs_can_be_pushed_to_their_goals(suite, index, joint, way):
    import mujoco

    scene = LiberoScene(tasks(suite)[index], assets_folder("builtin"), lean=True)
    scene.place(0, 0)
    for _ in range(10):
        assert not scene.advance(np.array(OSC_POSE.hold))
    (number,) = [j for j in range(scene.model.njnt) if scene.model.joint(j).name.endswith(joint)]
    slide = scene.model.jnt_type[number] == mujoco.mjtJoint.mjJNT_SLIDE
    scene.data.qfrc_applied[scene.model.jnt_dofadr[number]] = way * (60.0 if slide else 4.0)
    for _ in range(60):
        scene.advance(np.array(OSC_POSE.hold))
    # The push must not be what holds the goal.
    scene.data.qfrc_applied[:] = 0
    for _ in range(10):
        success = scene.advance(np.array(OSC_POSE.hold))
    assert success
    scene.close()


@pytest.mark.parametrize(("name", "ranges"), [
    ("wooden_cabinet", {f"{level}_level": (-0.16, 0.01) for level in ("top", "middle", "bottom")}),
    ("white_cabinet", {f"{level}_level": (-0.16, 0.01) for level in ("top", "middle", "bottom")}),
    ("flat_stove", {"button": (-0.005, 2.1)}), ("microwave", {"microjoint": (-2.094, 0.0)}),
])
def test_joints_have_the_official_order_and_limits(name, ranges):
    joints = ET.fromstring(object_xml(name, OBJECTS[name])).iter("joint")
    assert [(j.get("name"), tuple(map(float, j.get("range").split()))) for j in joints] == list(ranges.items())


@pytest.mark.parametrize("name", SCENES)
def test_every_room_compiles_and_is_lit(name):
    import mujoco

    model = mujoco.MjModel.from_xml_path(str(assets_folder("builtin") / "scenes" / f"{name}.xml"))
    assert model.nlight == 2 and model.ntex >= 3
    assert {model.camera(k).name for k in range(model.ncam)} == {"birdview", "sideview"}


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_seen_of_an_object_cannot_be_touched_and_what_is_touched_is_not_seen(name):
    for geom in ET.fromstring(object_xml(name, OBJECTS[name])).iter("geom"):
        seen = geom.get("group") == "1"
        assert seen == (geom.get("contype") == geom.get("conaffinity") == "0")
        assert seen == (float(geom.get("rgba").split()[3]) == 1.0)


@pytest.mark.parametrize(("name", "axis", "floor_m", "rim_m"), [
    ("akita_black_bowl", (0, 0), 0.0067, 0.0521), ("white_bowl", (0, 0), 0.0042, 0.0350),
    ("glazed_rim_porcelain_ramekin", (0, 0), 0.0073, 0.0427), ("chefmate_8_frypan", (0, 0), 0.0127, 0.0420),
    ("porcelain_mug", (0.0123, -0.0012), 0.0128, 0.1085), ("red_coffee_mug", (-0.0157, -0.001), 0.0078, 0.1308),
    ("white_yellow_mug", (-0.0186, 0), 0.0052, 0.1031), ("wooden_tray", (0.007, -0.0044), 0.0081, 0.0545),
])
def test_vessels_are_hollow(name, axis, floor_m, rim_m):
    import mujoco

    root = ET.fromstring(object_xml(name, OBJECTS[name]))
    model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
    model.geom_rgba[:, 3] = 1.0  # rays pass through what is invisible
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    touched = np.array([1, 0, 0, 0, 0, 0], dtype=np.uint8)
    distance = mujoco.mj_ray(
        model, data, np.array([*axis, 1.0]), np.array([0.0, 0.0, -1.0]), touched, 1, -1, np.zeros(1, dtype=np.int32))
    assert 1.0 - distance == pytest.approx(floor_m, abs=0.001) and floor_m < rim_m / 2
    collision = [k for k in range(model.ngeom) if model.geom_group[k] == 0]
    half = (np.abs(data.geom_xmat[collision].reshape(-1, 3, 3)) @ model.geom_aabb[collision, 3:, None])[..., 0]
    assert (data.geom_xpos[collision] + half)[:, 2].max() >= rim_m - 0.001


def test_nothing_that_the_pocket_policies_are_trained_on_has_changed():
    pack, sha = assets_folder("builtin"), hashlib.sha256()
    for file in sorted(pack.rglob("*.xml")):
        sha.update(file.read_bytes())
    assert sha.hexdigest() == TRAINED_ON


def test_tasks_are_listed_without_the_simulator():
    listed = tasks("libero_object")
    assert len(listed) == 10
    assert listed[7].instruction == "pick up the milk and place it in the basket"


def test_every_suite_has_its_tasks_and_instructions_without_the_name_of_the_room():
    assert {suite: len(tasks(suite)) for suite in SUITES} == {
        "libero_spatial": 10, "libero_object": 10, "libero_goal": 10, "libero_10": 10, "libero_90": 90}
    assert tasks("libero_10")[8].instruction == "put both moka pots on the stove"
    assert tasks("libero_90")[0].instruction == "close the top drawer of the cabinet"
