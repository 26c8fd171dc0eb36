"""The fast scene plays the stock environment's episodes up to rounding, from a bundle, whatever ran before."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest

from envs.libero.bundle import load
from envs.libero.env import LiberoEnv, assets_folder, open_scene, open_task, tasks
from envs.types import AssetsError, InitStateError
from policies.experts.expert import expert_action

pytestmark = pytest.mark.libero

TASKS = (0, 3, 7)


@pytest.fixture(scope="module", params=TASKS)
def pair(request):
    """A task twice: fast, and equal to the stock environment in every bit."""
    task, assets = tasks("libero_object")[request.param], assets_folder("builtin")
    opened = tuple(open_scene(task, assets, True, stepping) for stepping in ("fast", "exact"))
    yield opened
    for scene in opened:
        scene.close()


@pytest.fixture(scope="module")
def fast():
    """One fast scene."""
    opened = open_scene(tasks("libero_object")[7], assets_folder("builtin"), True, "fast")
    yield opened
    opened.close()


def actions(count: int, scale: float) -> np.ndarray:
    """float64[count, 7]; every third keeps the goal orientation."""
    drawn = np.random.default_rng(5).uniform(-1, 1, (count, 7))
    drawn[:, :6] *= scale
    drawn[::3, 3:6] = 0.0
    return drawn


def run(scene, init_state: int, moves: np.ndarray) -> np.ndarray:
    """float64[steps, nq + nv]."""
    scene.place(init_state, 3)
    rows = []
    for action in moves:
        scene.advance(action)
        rows.append(np.concatenate([scene.data.qpos, scene.data.qvel]))
    return np.stack(rows)


def test_300_actions_give_the_stock_trajectory_where_contacts_are_not_chaotic(pair):
    # Full-scale actions ram the arm into the floor, after which a stock run nudged by 1e-15 parts from itself, too.
    moves = actions(300, scale=0.3)
    first, second = (run(scene, 5, moves) for scene in pair)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-9)


def test_an_experts_episode_succeeds_at_the_stock_step_and_the_goal_is_liberos_at_every_step(pair):
    reached = []
    for scene in pair:
        env = LiberoEnv(scene, 0, privileged=True)
        observation, steps = env.reset(1, 0), 0
        for _ in range(220):
            steps += 1
            result = env.step(expert_action(observation))
            assert scene.facts.goal_holds(scene.data) == scene.succeeded() == result.success
            observation = result.observation
            if result.success:
                break
        reached.append((steps, result.success))
    assert reached[0] == reached[1] and reached[0][1]


def test_a_drawn_placement_is_liberos(pair):
    fast, exact = pair
    for scene in pair:
        scene.place(None, 17, 0.02)
    np.testing.assert_array_equal(fast.data.qpos, exact.data.qpos)
    np.testing.assert_array_equal(fast.state(), exact.state())


def test_pictures_are_those_of_the_stock_scene(fast):
    exact = open_task("libero_object", 7, 64, "builtin", stepping="exact")
    ours = LiberoEnv(fast, 64, privileged=False)
    for env in (exact, ours):
        env.reset(4, 0, observe=False)
    for action in actions(5, 1.0):
        drawn = [env.step(action).observation.images for env in (exact, ours)]
    for camera, image in drawn[0].items():
        np.testing.assert_array_equal(image, drawn[1][camera])
    exact.close()


def test_an_episode_does_not_depend_on_what_ran_before(fast):
    moves = actions(30, 1.0)
    first = run(fast, 2, moves)
    run(fast, 30, moves[::-1])
    fast.place(None, 5)
    fast.advance(moves[0])
    np.testing.assert_array_equal(run(fast, 2, moves), first)


def test_a_restored_snapshot_repeats_every_bit(fast):
    run(fast, 0, actions(8, 1.0))
    saved = fast.snapshot()
    runs = []
    for _ in range(2):
        runs.append([(fast.advance(action), fast.data.qpos.copy())[1] for action in actions(12, 1.0)])
        fast.restore(saved)
    np.testing.assert_array_equal(runs[0], runs[1])


def test_a_bundle_gives_back_what_was_saved(fast):
    from envs.libero.bundle import _facts_from_json, _facts_to_json

    assert load(fast._folder).facts == fast.facts
    assert _facts_from_json(_facts_to_json(fast.facts)) == fast.facts


def test_poses_of_fixtures_are_drawn_by_libero_once_for_each_seed(fast, tmp_path, monkeypatch):
    stand_in = {"furniture_1": fast.facts.objects["butter_1"]}
    monkeypatch.setattr(fast, "facts", dataclasses.replace(fast.facts, fixtures=stand_in))
    monkeypatch.setattr(fast, "_folder", tmp_path)
    fast.place(0, 12)
    monkeypatch.setattr(fast, "_open_stock", lambda: pytest.fail("drawn again"))
    fast.place(0, 12)
    assert [path.name for path in (tmp_path / "fixtures").iterdir()] == ["12.npy"]
    assert np.load(tmp_path / "fixtures" / "12.npy").shape == (1, 7)


@pytest.mark.parametrize("file", ["model.mjb", "facts.json", "arrays.npz"])
@pytest.mark.parametrize("harm", ["cut", "gone", "other"])
def test_a_broken_bundle_is_named_with_what_to_delete(fast, tmp_path, monkeypatch, caplog, file, harm):
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "bundle"
    shutil.copytree(fast._folder, broken)
    content = (broken / file).read_bytes()
    if harm == "gone":
        (broken / file).unlink()
    else:
        (broken / file).write_bytes(content[:len(content) // 2] if harm == "cut" else b'{"goal": 1}')
    with pytest.raises(AssetsError, match=f"bundle is broken: .*{file} cannot be read .*; delete {broken}"):
        load(broken)
    if (file, harm) == ("model.mjb", "cut"):
        # MuJoCo speaks through logging; on its own it would write a file where it is.
        assert "ran out of data" in caplog.text
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()


def test_an_episode_from_a_bundle_imports_neither_robosuite_nor_libero_and_compiles_nothing_before_it_acts(fast):
    program = (
        "import sys, numpy as np\n"
        "from envs.libero.env import open_task\n"
        "env = open_task('libero_object', 7, 0, 'builtin')\n"
        "env.reset(0, 0)\n"
        "assert not {'numba', 'scipy'} & set(sys.modules)\n"
        "env.step(np.zeros(7))\n"
        "env.close()\n"
        "sys.exit(bool({'robosuite', 'libero', 'bddl', 'torch', 'trimesh', 'imageio'} & set(sys.modules)))\n")
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_an_init_state_out_of_range_is_named_with_the_legal_range(fast):
    with pytest.raises(InitStateError, match=r"no init state 50, legal are 0 \.\. 49"):
        fast.place(50, 0)


def test_an_unknown_stepping_is_answered_with_the_legal_ones():
    with pytest.raises(ValueError, match="legal are: fast, exact"):
        open_task("libero_object", 0, 0, "builtin", stepping="slow")
