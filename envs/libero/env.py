"""A LIBERO task as an `Environment`: lazy pictures, success in the contract, episodes that follow from their key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from envs.libero import official
from envs.libero import suite as suites
from envs.libero.scene import LiberoScene
from envs.pack import build as pack
from envs.types import OSC_POSE, AssetsError, Observation, StepResult, TaskSpec

CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
"""Name in an observation -> name in the scene."""

ASSETS_ROOT = Path(".qvla-bench/assets")
"""Where the built-in pack is built and the official assets are downloaded to, below the working directory."""

START_NOISE_RAD = 0.02
"""Standard deviation of the arm's start pose in drawn placements; that of the official init states."""


def assets_folder(assets: str) -> Path:
    """The asset folder of a kind, built or downloaded first if need be. Raises `AssetsError`."""
    if assets == "builtin":
        return pack.ensure(ASSETS_ROOT)
    if assets == "official":
        return official.ensure(ASSETS_ROOT)
    raise AssetsError(f"assets {assets!r} are unknown, legal are: builtin, official")


def assets_stamp(assets: str) -> dict[str, Any]:
    """What a record says of its assets: results on different stamps are never compared."""
    if assets == "official":
        return official.stamp(ASSETS_ROOT)
    assets_folder(assets)
    return {"kind": assets, "digest": f"sha256:{pack.digest()}"}


def tasks(suite: str) -> list[TaskSpec]:
    """The tasks of a suite, without starting the simulator."""
    return suites.tasks(suite)


def open_task(suite: str, index: int, image_size: int, assets: str, privileged: bool = False) -> LiberoEnv:
    """Compile one task. `image_size` 0 means that nobody will look; `privileged` adds object poses to observations."""
    return LiberoEnv(suites.tasks(suite)[index], image_size, assets_folder(assets), assets == "builtin", privileged)


class LiberoEnv:
    """One LIBERO task. Images are upright (robosuite's own are upside down)."""

    action_spec = OSC_POSE

    def __init__(self, task: TaskSpec, image_size: int, assets: Path, lean: bool, privileged: bool):
        self.task = task
        self.image_size = image_size
        self.privileged = privileged
        self.scene = LiberoScene(task, assets, lean)
        self._renderers: dict[int, object] = {}

    def reset(self, init_state: int | None, seed: int, observe: bool = True) -> Observation | None:
        """See `envs.types.Environment`."""
        self.scene.place(init_state, seed, START_NOISE_RAD)
        return self.observe() if observe else None

    def step(self, action: np.ndarray, observe: bool = True) -> StepResult:
        """See `envs.types.Environment`. Raises `ActionError` for NaN, Inf, a wrong shape or a value out of range."""
        success = self.scene.advance(self.action_spec.check(action))
        return StepResult(self.observe() if observe else None, self.scene.state(), success, False, success)

    def observe(self) -> Observation:
        """What the world shows now; `reset` and `step` give the same when asked."""
        images = {name: self._draw(camera, self.image_size) for name, camera in CAMERAS.items() if self.image_size}
        truth = self._truth() if self.privileged else None
        return Observation(images, self.scene.state(), self.task.instruction, truth)

    def look_privileged(self) -> Observation:
        """The present state and simulator truth without images."""
        return Observation({}, self.scene.state(), self.task.instruction, self._truth())

    def _truth(self) -> dict[str, np.ndarray]:
        pick, place = self.scene.problem.obj_of_interest[:2]
        others = [name for name in self.scene.problem.objects_dict if name not in (pick, place)]
        return {
            "others": np.array([[*self.scene.pose(name)[:2], self.scene.top(name)] for name in others]),
            "pick": self.scene.pose(pick), "place": self.scene.pose(place),
            "pick_top": np.array([self.scene.top(pick)]), "grasped": np.array([self.scene.grasped(pick)]),
        }

    def render(self, camera: str, size: int) -> np.ndarray:
        """See `envs.types.Environment`."""
        return self._draw(CAMERAS.get(camera, camera), size)

    def _draw(self, camera: str, size: int) -> np.ndarray:
        import mujoco

        if size not in self._renderers:
            renderer = mujoco.Renderer(self.scene.model, size, size)
            options = mujoco.MjvOption()
            options.geomgroup[:] = 0
            options.geomgroup[1] = 1
            self._renderers[size] = (renderer, options)
        renderer, options = self._renderers[size]
        renderer.update_scene(self.scene.data, camera, options)
        return renderer.render()

    def close(self) -> None:
        """See `envs.types.Environment`."""
        for renderer, _ in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self.scene.close()
