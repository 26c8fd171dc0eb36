"""Any of our environments as a `gymnasium.Env`; importing this module registers every task.

    import gymnasium, envs.gym
    env = gymnasium.make("qvla_bench/libero_object-0", max_episode_steps=280)
    observation, info = env.reset(seed=7, options={"init_state": 3})

    vector = gymnasium.make_vec("qvla_bench/libero_object-0", num_envs=4, vectorization_mode="async")

gymnasium 1.0 dropped its plug-in entry point, so something has to import this module; `gymnasium.make` does it itself
when asked for "envs.gym:qvla_bench/libero_object-0". `make_vec` in mode "async" runs one process per environment, with
observations in shared memory. An episode follows from `(seed, init_state)` alone: it is the same in any number of
processes, in any order. Nothing here ends an episode but success; give `max_episode_steps` for a cap.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.registry import ALIASES, SUITES, find_task
from envs.types import OSC_POSE, STATE_DIM, AssetsError, Environment, Observation, PreflightError

CAMERAS = ("agentview", "wrist")

_FORKED_WITH_EGL = False
"""Whether this process was forked from one whose EGL display was open; it cannot be closed or opened again."""

LEAST_IMAGE = 8
"""Smallest side of an image in pixels; below it nothing can be seen."""


def _note_fork() -> None:
    global _FORKED_WITH_EGL
    _FORKED_WITH_EGL = _FORKED_WITH_EGL or "mujoco.egl" in sys.modules


os.register_at_fork(after_in_child=_note_fork)


class GymEnvironment(gymnasium.Env):
    """Observation: a Dict of the camera images and "state"; reward: 1 when the goal holds, else 0.

    The simulator starts at the first reset: a vector environment makes one environment too many, to learn its spaces,
    and a process that is forked after drawing with EGL cannot draw itself.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, suite: str, index: int, image_size: int, assets: str, stepping: str,
                 render_mode: str | None = None):
        self._module, self.task = find_task(suite, index)
        self._open: Environment | None = None
        self.image_size = image_size
        self.assets, self.stepping = assets, stepping
        self.render_mode = render_mode
        self.action_space = spaces.Box(OSC_POSE.low, OSC_POSE.high, (OSC_POSE.dim,), np.float32)
        image = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = spaces.Dict(
            {camera: image for camera in CAMERAS} | {"state": spaces.Box(-10.0, 10.0, (STATE_DIM,), np.float32)}
        )

    @property
    def environment(self) -> Environment:
        """The environment itself, opened if it is not yet."""
        if self._open is None:
            if _FORKED_WITH_EGL and SUITES[self.task.suite].preflight is not None:
                raise PreflightError(
                    "this process was forked from one that had drawn with EGL, where drawing hangs; make the vector "
                    "environment before the first picture, or with vector_kwargs={'context': 'spawn'}")
            self._open = self._module.open_task(self.task.suite, self.task.index, self.image_size, self.assets, False,
                                                self.stepping)
            OSC_POSE.require(self._open.action_spec)
        return self._open

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """`options={"init_state": i}` places official init state i; without it the placement is drawn from `seed`.

        Raises `InitStateError` for an index out of range.
        """
        super().reset(seed=seed)
        placement = seed if seed is not None else int(self.np_random.integers(2**31))
        observation = self.environment.reset((options or {}).get("init_state"), placement)
        return self._flat(observation), {"instruction": observation.instruction, "success": False}

    def step(self, action: np.ndarray):
        """One control step of 50 ms. Raises `ActionError` for an action that is not finite or out of range."""
        result = self.environment.step(action)
        info = {"instruction": self.task.instruction, "success": result.success}
        return self._flat(result.observation), float(result.success), result.terminated, result.truncated, info

    def render(self) -> np.ndarray | None:
        """uint8[256, 256, 3] of the agent's view in mode "rgb_array"."""
        return self.environment.render("agentview", 256) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the simulator; a later reset starts it again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _flat(self, observation: Observation) -> dict[str, np.ndarray]:
        return dict(observation.images) | {"state": observation.state}


def make(
    suite: str, index: int, image_size: int = 128, assets: str | None = None, stepping: str | None = None,
    render_mode: str | None = None,
) -> GymEnvironment:
    """Task `index` of `suite` as a gymnasium environment, with the suite's first assets and stepping unless named.

    Asset files are built or downloaded here, before other processes want them. Raises `TaskError` for an unknown suite
    or index, `AssetsError` for assets that the suite does not have, `ValueError` for a stepping that it does not have
    or a picture that is too small.
    """
    module, task = find_task(suite, index)
    entry = SUITES[task.suite]
    kind, way = assets or entry.assets[0], stepping or entry.stepping[0]
    if kind not in entry.assets:
        raise AssetsError(f"suite {suite!r} has no assets {kind!r}; legal: {', '.join(entry.assets)}")
    if way not in entry.stepping:
        raise ValueError(f"suite {suite!r} has no stepping {way!r}; legal: {', '.join(entry.stepping)}")
    if image_size < LEAST_IMAGE:
        raise ValueError(f"image_size is {image_size}, legal are whole numbers from {LEAST_IMAGE} pixels on")
    module.assets_folder(kind)
    return GymEnvironment(task.suite, index, image_size, kind, way, render_mode)


def register() -> tuple[list[str], Mapping[str, str]]:
    """Put every task into gymnasium's registry as "qvla_bench/SUITE-INDEX", by every name of its suite.

    Safe to call again.

    Returns the ids, and the suites that cannot be listed on this machine with the reason.
    """
    ids, absent = [], {}
    for suite in SUITES:
        try:
            found = import_module(SUITES[suite].module).tasks(suite)
        except PreflightError as error:
            absent[suite] = str(error)
            continue
        for task in found:
            for called in (suite, *(alias for alias, meant in ALIASES.items() if meant == suite)):
                name = f"qvla_bench/{called}-{task.index}"
                if name not in gymnasium.registry:
                    gymnasium.register(name, entry_point="envs.gym:make", kwargs={"suite": suite, "index": task.index})
                ids.append(name)
    return ids, absent


IDS, ABSENT = register()
"""Ids of all tasks, and suite -> why its tasks are not among them."""
