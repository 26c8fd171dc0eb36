"""Every registered task is a well-behaved gymnasium environment, alone and in processes of its own."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs.gym
from envs.types import OSC_POSE, ActionError, AssetsError, InitStateError, PreflightError, TaskError

STEPS = 6


def test_importing_the_module_registers_every_task_once():
    assert envs.gym.register() == (envs.gym.IDS, envs.gym.ABSENT) and envs.gym.ABSENT == {}
    assert {"qvla_bench/toy-0", "qvla_bench/libero_object-9"} <= set(envs.gym.IDS) <= set(gymnasium.registry)
    assert len(envs.gym.IDS) == len(set(envs.gym.IDS)) == 130 + 10 + 2  # libero_10 has two names


def test_a_suite_is_the_same_by_each_of_its_names():
    for name in ("libero_10", "libero_long"):
        env = gymnasium.make(f"qvla_bench/{name}-3").unwrapped
        assert (env.task.suite, env.task.index, env.stepping) == ("libero_10", 3, "fast")
        env.close()


def test_gymnasium_imports_the_module_when_the_id_names_it():
    program = "import gymnasium; gymnasium.make('envs.gym:qvla_bench/toy-0').reset(seed=0)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_listing_and_making_start_no_simulator():
    program = ("import sys, envs.gym; envs.gym.make('libero_object', 0).close();"
               "sys.exit(bool({'mujoco', 'robosuite', 'torch'} & set(sys.modules)))")
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_suite_that_is_not_installed_is_left_out_with_its_reason(monkeypatch):
    import envs.libero.env

    def missing(suite):
        raise PreflightError("LIBERO is not installed; run: pip install")

    monkeypatch.setattr(envs.libero.env, "tasks", missing)
    ids, absent = envs.gym.register()
    assert ids == ["qvla_bench/toy-0", "qvla_bench/toy-1"] and "pip install" in absent["libero_object"]


@pytest.mark.parametrize("name", ["toy-0", "toy-1", pytest.param("libero_object-0", marks=pytest.mark.libero)])
def test_gymnasiums_own_checker_is_content(name):
    env = gymnasium.make(f"qvla_bench/{name}", render_mode="rgb_array").unwrapped
    check_env(env)
    env.close()


def test_an_init_state_can_be_asked_for():
    env = envs.gym.make("toy", 0)
    first, info = env.reset(seed=1, options={"init_state": 3})
    again, _ = env.reset(seed=1, options={"init_state": 3})
    np.testing.assert_array_equal(first["agentview"], again["agentview"])
    assert info["instruction"] == env.task.instruction
    with pytest.raises(InitStateError, match="0..9"):
        env.reset(options={"init_state": 10})


def test_a_closed_environment_can_be_used_again():
    env = envs.gym.make("toy", 0)
    first, _ = env.reset(seed=1)
    env.close()
    env.close()
    np.testing.assert_array_equal(env.reset(seed=1)[0]["state"], first["state"])


@pytest.mark.parametrize(("suite", "index", "changes", "error", "hint"), [
    ("toi", 0, {}, TaskError, "did you mean 'toy'"), ("libero_objects", 0, {}, TaskError, "'libero_object'"),
    ("libero_lon", 0, {}, TaskError, "mean 'libero_long'"), ("libero_long", 10, {}, TaskError, r"0\.\.9, got 10"),
    ("toy", 0, {"stepping": "exact"}, ValueError, "legal: none"),
    ("toy", 2, {}, TaskError, r"tasks 0\.\.1, got 2"), ("toy", -1, {}, TaskError, "got -1"),
    ("toy", 0, {"assets": "builtin"}, AssetsError, "legal: none"), ("toy", 0, {"image_size": 0}, ValueError, "from 8"),
])
def test_what_does_not_exist_is_answered_with_what_does(suite, index, changes, error, hint):
    with pytest.raises(error, match=hint):
        envs.gym.make(suite, index, **changes)


@pytest.mark.parametrize(("name", "near"), [("toy-7", "toy-[01]"), ("libero_objet-0", "libero_object-0")])
def test_gymnasium_suggests_the_near_id(name, near):
    with pytest.raises(gymnasium.error.NameNotFound, match=f"Did you mean: `{near}`"):
        gymnasium.make(f"qvla_bench/{name}")


@pytest.mark.parametrize(("action", "reason"), [
    (np.full(7, np.nan), "not finite"), (np.full(7, -np.inf), "not finite.*-1.0, 1.0"),
    (np.full(7, 1.5), "legal range"),
    (np.zeros(6), "shape"), (np.zeros((1, 7)), r"shape \(1, 7\)"), ("forward", "not made of numbers"),
    (None, "shape|not finite"), ([[1.0], [1.0, 2.0]], "not made of numbers"),
])
def test_an_illegal_action_is_refused(action, reason):
    env = envs.gym.make("toy", 0)
    env.reset(seed=0)
    with pytest.raises(ActionError, match=reason):
        env.step(action)


def episodes(name: str, workers: int, context: str | None, seeds: int = 4) -> dict[int, list[np.ndarray]]:
    """Seed -> everything seen in its episode; the seeds over `workers` processes, after each other's episodes."""
    seen: dict[int, list[np.ndarray]] = {}
    vector = gymnasium.make_vec(f"qvla_bench/{name}", num_envs=workers, vectorization_mode="async", image_size=32,
                                vector_kwargs={"context": context, "shared_memory": True})
    try:
        for first in range(0, seeds, workers):
            own = list(range(first, first + workers))
            observations = [vector.reset(seed=own)[0]]
            for step in range(STEPS):
                action = np.tile(np.float32(OSC_POSE.hold), (workers, 1))
                action[:, 0] = 0.1 * step
                observations.append(vector.step(action)[0])
            for row, seed in enumerate(own):
                seen[seed] = [np.copy(o[key][row]) for o in observations for key in sorted(o)]
    finally:
        vector.close()
    return seen


@pytest.mark.parametrize(("name", "context"), [
    ("toy-0", None), ("toy-0", "spawn"), pytest.param("libero_object-0", "spawn", marks=pytest.mark.libero),
    pytest.param("libero_long-9", "spawn", marks=pytest.mark.libero),  # a microwave is placed, its door opened
])
def test_an_episode_is_the_same_with_one_and_two_workers(name, context):
    alone, together = episodes(name, 1, context), episodes(name, 2, context)
    for seed in range(4):
        for one, other in zip(alone[seed], together[seed], strict=True):
            np.testing.assert_array_equal(one, other)
    assert any((a != b).any() for a, b in zip(alone[0], alone[1], strict=True))


def test_eight_workers_play_the_episodes_of_one():
    alone, together = episodes("toy-1", 1, None, seeds=8), episodes("toy-1", 8, None, seeds=8)
    for seed in range(8):
        for one, other in zip(alone[seed], together[seed], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore::UserWarning")  # gymnasium logs the worker's traceback as warnings
def test_an_error_in_a_worker_reaches_the_caller():
    vector = gymnasium.make_vec("qvla_bench/toy-0", num_envs=2, vectorization_mode="async")
    with pytest.raises(InitStateError, match="got 99"):
        vector.reset(seed=0, options={"init_state": 99})
    vector.close(terminate=True)


@pytest.mark.libero
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_process_forked_after_drawing_is_refused_instead_of_hanging():
    envs.gym.make("libero_object", 0, image_size=16).reset(seed=0)
    if "mujoco.egl" not in sys.modules:
        pytest.skip("drawn without EGL")
    vector = gymnasium.make_vec("qvla_bench/libero_object-0", num_envs=1, vectorization_mode="async",
                                vector_kwargs={"context": "fork"})
    with pytest.raises(PreflightError, match="'context': 'spawn'"):
        vector.reset(seed=0)
    vector.close(terminate=True)


@pytest.mark.libero
def test_environments_forked_before_drawing_can_draw():
    program = (
        "import gymnasium, envs.gym, numpy as np\n"
        "vector = gymnasium.make_vec('qvla_bench/libero_object-0', num_envs=2, vectorization_mode='async',\n"
        "                            image_size=16, vector_kwargs={'context': 'fork'})\n"
        "observation, _ = vector.reset(seed=0)\n"
        "assert observation['wrist'].shape == (2, 16, 16, 3) and observation['agentview'].std() > 0\n"
        "vector.close()\n")
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
