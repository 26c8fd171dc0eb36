"""Any of our environments as a `gymnasium.Env`, and their ids in gymnasium's registry.

    import gymnasium, envs.gym
    envs.gym.register()
    env = gymnasium.make("qvla_bench/libero_object-0")
    observation, info = env.reset(seed=7, options={"init_state": 3})
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.registry import SUITES
from envs.types import STATE_DIM, Environment, Observation

CAMERAS = ("agentview", "wrist")


class GymEnvironment(gymnasium.Env):
    """Observation: a Dict of the camera images and "state"; reward: 1 when the goal holds, else 0."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, environment: Environment, image_size: int, render_mode: str | None = None):
        spec = environment.action_spec
        self.environment = environment
        self.image_size = image_size
        self.render_mode = render_mode
        self.action_space = spaces.Box(spec.low, spec.high, (spec.dim,), np.float32)
        image = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = spaces.Dict(
            {camera: image for camera in CAMERAS} | {"state": spaces.Box(-10.0, 10.0, (STATE_DIM,), np.float32)}
        )

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
        info = {"instruction": self.environment.task.instruction, "success": result.success}
        return self._flat(result.observation), float(result.success), result.terminated, result.truncated, info

    def render(self) -> np.ndarray | None:
        """uint8[256, 256, 3] of the agent's view in mode "rgb_array"."""
        return self.environment.render("agentview", 256) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the simulator."""
        self.environment.close()

    def _flat(self, observation: Observation) -> dict[str, np.ndarray]:
        return dict(observation.images) | {"state": observation.state}


def make(
    suite: str, index: int, image_size: int = 128, assets: str | None = None, render_mode: str | None = None
) -> GymEnvironment:
    """Open task `index` of `suite` as a gymnasium environment, on the suite's first kind of assets unless named."""
    module, kind = import_module(SUITES[suite].module), assets or SUITES[suite].assets[0]
    environment = module.open_task(suite, index, image_size, kind, False)
    return GymEnvironment(environment, image_size, render_mode)


def register() -> list[str]:
    """Put every task into gymnasium's registry as "qvla_bench/SUITE-INDEX"; returns the ids. Safe to call again."""
    ids = []
    for suite in SUITES:
        for task in import_module(SUITES[suite].module).tasks(suite):
            name = f"qvla_bench/{suite}-{task.index}"
            if name not in gymnasium.registry:
                gymnasium.register(name, entry_point="envs.gym:make", kwargs={"suite": suite, "index": task.index})
            ids.append(name)
    return ids
