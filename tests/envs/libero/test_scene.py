"""The scene that is compiled once forgets every episode; `tests/bench/test_parity.py` compares it with LIBERO's own."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from envs.libero.env import assets_folder, open_task, tasks
from envs.libero.scene import LiberoScene
from envs.types import OSC_POSE, ActionError, InitStateError

pytestmark = pytest.mark.libero

STEPS = 40


def actions(count: int) -> np.ndarray:
    """float64[count, 7] of a fixed random walk that also moves the gripper."""
    rng = np.random.default_rng(5)
    drawn = rng.uniform(-1, 1, (count, 7))
    drawn[::3, 3:6] = 0.0
    return drawn


@pytest.fixture(scope="module")
def scene():
    """One compiled task."""
    opened = LiberoScene(tasks("libero_object")[7], assets_folder("builtin"), lean=True)
    yield opened
    opened.close()


def physics(scene_or_problem) -> np.ndarray:
    """Time, positions and velocities."""
    problem = getattr(scene_or_problem, "problem", scene_or_problem)
    return problem.sim.get_state().flatten()


def run(scene: LiberoScene, init_state: int, seed: int) -> np.ndarray:
    """float64[STEPS, state] of one episode."""
    scene.place(init_state, seed)
    rows = []
    for action in actions(STEPS):
        scene.advance(action)
        rows.append(physics(scene))
    return np.stack(rows)


def test_an_episode_does_not_depend_on_what_ran_before(scene):
    first = run(scene, 2, 11)
    run(scene, 30, 99)
    scene.place(None, 5)
    scene.advance(actions(1)[0])
    np.testing.assert_array_equal(run(scene, 2, 11), first)


def test_a_drawn_placement_depends_on_its_seed_alone_and_leaves_numpys_generator_alone(scene):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    scene.place(None, 21, 0.02)
    placed = physics(scene)
    assert (np.random.get_state()[1] == before).all()
    scene.place(None, 22, 0.02)
    assert not np.array_equal(physics(scene), placed)
    scene.place(None, 21, 0.02)
    np.testing.assert_array_equal(physics(scene), placed)


def test_a_restored_snapshot_goes_on_as_if_nothing_had_happened(scene):
    scene.place(0, 0)
    for action in actions(6):
        scene.advance(action)
    saved = scene.snapshot()
    first = [physics(scene) for action in actions(12) if scene.advance(action) in (True, False)]
    scene.restore(saved)
    second = [physics(scene) for action in actions(12) if scene.advance(action) in (True, False)]
    np.testing.assert_array_equal(second, first)


def test_a_sampler_that_finds_no_place_raises_instead_of_starting_a_debugger(monkeypatch):
    from envs.libero import scene as scenes

    opened = LiberoScene(tasks("libero_spatial")[4], assets_folder("builtin"), lean=True)
    from libero.libero.envs.regions import base_region_sampler as samplers

    # The bowl lies in a drawer; every place for it seems taken.
    monkeypatch.setattr(samplers.InSiteRegionRandomSampler, "sample", _ask_a_debugger)
    monkeypatch.setattr(scenes, "_PLACEMENT_TRIES", 2)
    with pytest.raises(InitStateError, match="no placement found for seed 3 in 2 tries"):
        opened.place(0, 3)
    opened.close()


def _ask_a_debugger(*args, **kwargs):
    import pdb

    pdb.set_trace()  # what LIBERO does where it gives up


def test_opening_a_scene_asks_nobody(tmp_path):
    program = ("import builtins, pdb; builtins.input = pdb.set_trace = lambda *a: 1 / 0\n"
               "from envs.libero.env import open_task\n"
               "open_task('libero_object', 7, 0, 'builtin', stepping='exact').reset(0, 0)\n")
    environment = {k: v for k, v in os.environ.items() if k != "LIBERO_CONFIG_PATH"} | {"HOME": str(tmp_path)}
    # Standard input stays open: whoever reads from it hangs.
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, env=environment) as child:
        assert child.wait(timeout=120) == 0
    assert not (tmp_path / ".libero").exists()


def test_an_init_state_out_of_range_is_named_with_the_legal_range(scene):
    with pytest.raises(InitStateError, match=r"no init state 50, legal are 0 \.\. 49"):
        scene.place(50, 0)


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.zeros(6), np.full(7, 1.5)])
def test_an_action_that_no_robot_should_be_sent_raises(bad):
    with pytest.raises(ActionError):
        OSC_POSE.check(bad)


def test_pictures_are_upright_and_only_drawn_when_asked_for():
    env = open_task("libero_object", 0, 64, "builtin", privileged=False)
    assert env.reset(0, 0, observe=False) is None
    result = env.step(np.array(OSC_POSE.hold), observe=False)
    assert result.observation is None and result.state.dtype == np.float32 and not result.success
    images = env.step(np.array(OSC_POSE.hold)).observation.images
    assert {name: image.shape for name, image in images.items()} == {"agentview": (64, 64, 3), "wrist": (64, 64, 3)}
    # The basket stands on the camera's right and the wall behind everything is at the top.
    view = images["agentview"].astype(int)
    brown = (view[..., 0] - view[..., 2]) > 40
    assert brown[20:, 40:].sum() > 4 * brown[20:, :20].sum()
    env.close()
