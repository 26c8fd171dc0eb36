"""A LIBERO task as an `Environment`: lazy pictures, success in the contract, episodes that follow from their key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from envs.libero import official
from envs.libero import suite as suites
from envs.libero.process import prepare_to_draw
from envs.libero.scene import LiberoScene
from envs.pack import build as pack
from envs.types import OSC_POSE, AssetsError, Observation, StepResult, TaskSpec

if TYPE_CHECKING:  # it imports MuJoCo, and the renderer must be chosen before that
    from envs.libero.fast import FastScene

CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
"""Name in an observation -> name in the scene."""

ASSETS_ROOT = Path(".qvla-bench/assets")
"""Where the built-in pack is built and the official assets are downloaded to, below the working directory."""

START_NOISE_RAD = 0.02
"""Standard deviation of the arm's start pose in drawn placements; that of the official init states."""


FILM_MULTISAMPLES = 4
"""Samples a pixel in pictures for people; MuJoCo's default."""

Stepping = Literal["fast", "exact"]
"""How physics are computed: within rounding of the stock environment, or equal to it in every bit."""


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


def open_task(suite: str, index: int, image_size: int, assets: str, privileged: bool = False,
              stepping: Stepping = "fast") -> LiberoEnv:
    """Open one task. `image_size` 0 means that nobody will look; `privileged` adds object poses to observations."""
    scene = open_scene(suites.tasks(suite)[index], assets_folder(assets), assets == "builtin", stepping)
    return LiberoEnv(scene, image_size, privileged)


def open_scene(task: TaskSpec, assets: Path, lean: bool, stepping: Stepping) -> LiberoScene | FastScene:
    """The physics of one task, from the asset folder `assets`; `lean` reduces the robot's visual meshes."""
    if stepping == "exact":
        return LiberoScene(task, assets, lean)
    if stepping != "fast":
        raise ValueError(f"stepping {stepping!r} is unknown, legal are: fast, exact")
    prepare_to_draw()
    from envs.libero.fast import FastScene

    return FastScene(task, assets, lean)


class LiberoEnv:
    """One LIBERO task. Images are upright (robosuite's own are upside down)."""

    action_spec = OSC_POSE

    def __init__(self, scene: LiberoScene | FastScene, image_size: int, privileged: bool):
        self.task = scene.task
        self.image_size = image_size
        self.privileged = privileged
        self.scene = scene
        self._renderers: dict[tuple[int, int | None], object] = {}

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
        pick, place = self.scene.facts.interest[:2]
        others = [name for name in self.scene.facts.objects if name not in (pick, place)]
        return {
            "others": np.array([[*self.scene.pose(name)[:2], self.scene.top(name)] for name in others]),
            "pick": self.scene.pose(pick), "place": self.scene.pose(place),
            "pick_top": np.array([self.scene.top(pick)]), "grasped": np.array([self.scene.grasped(pick)]),
        }

    def render(self, camera: str, size: int) -> np.ndarray:
        """See `envs.types.Environment`; antialiased, whatever the policy's images are."""
        return self._draw(CAMERAS.get(camera, camera), size, FILM_MULTISAMPLES)

    def _draw(self, camera: str, size: int, multisamples: int | None = None) -> np.ndarray:
        import mujoco

        if (size, multisamples) not in self._renderers:
            quality = self.scene.model.vis.quality
            own = quality.offsamples
            # Read once, when the renderer is made.
            quality.offsamples = own if multisamples is None else multisamples
            renderer = mujoco.Renderer(self.scene.model, size, size)
            quality.offsamples = own
            options = mujoco.MjvOption()
            options.geomgroup[:] = 0
            options.geomgroup[1] = 1
            self._renderers[size, multisamples] = (renderer, options)
        renderer, options = self._renderers[size, multisamples]
        renderer.update_scene(self.scene.data, camera, options)
        return renderer.render()

    def close(self) -> None:
        """See `envs.types.Environment`."""
        for renderer, _ in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self.scene.close()
