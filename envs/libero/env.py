"""A LIBERO task as an `Environment`: lazy pictures, success in the contract, episodes that follow from their key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from envs.libero import official
from envs.libero import suite as suites
from envs.libero.process import hear_warnings, prepare_to_draw
from envs.libero.truth import Names, names_of, truth_of
from envs.pack import build as pack
from envs.registry import find_task
from envs.types import OSC_POSE, AssetsError, Observation, StepResult, TaskSpec

if TYPE_CHECKING:  # the one imports MuJoCo, and the renderer must be chosen before that; a bundle needs not the other
    from envs.libero.fast import FastScene
    from envs.libero.scene import LiberoScene

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
    """Open one task. `image_size` 0 means that nobody will look; `privileged` adds object poses to observations.

    Raises `TaskError` for an unknown suite or index, `AssetsError` for assets that are not there.
    """
    _, task = find_task(suite, index)
    return LiberoEnv(open_scene(task, assets_folder(assets), assets == "builtin", stepping), image_size, privileged)


def open_scene(task: TaskSpec, assets: Path, lean: bool, stepping: Stepping) -> LiberoScene | FastScene:
    """The physics of one task, from the asset folder `assets`; `lean` reduces the robot's visual meshes."""
    if stepping == "exact":
        from envs.libero.scene import LiberoScene

        return LiberoScene(task, assets, lean)
    if stepping != "fast":
        raise ValueError(f"stepping {stepping!r} is unknown, legal are: fast, exact")
    prepare_to_draw()
    hear_warnings()
    from envs.libero.fast import FastScene

    return FastScene(task, assets, lean, _bundles(assets))


def _bundles(assets: Path) -> Path:
    """Where scenes compiled from `assets` are kept: nothing is written into a tree of LIBERO's."""
    if assets in (official.given(), ASSETS_ROOT.resolve() / "official"):
        return official.bundles(assets, ASSETS_ROOT)
    return assets / "bundles"


class LiberoEnv:
    """One LIBERO task. Images are upright (robosuite's own are upside down)."""

    action_spec = OSC_POSE

    def __init__(self, scene: LiberoScene | FastScene, image_size: int, privileged: bool):
        self.task = scene.task
        self.image_size = image_size
        self.privileged = privileged
        self.scene = scene
        self.stepping = scene.stepping
        self._renderers: dict[tuple[int, int | None], object] = {}
        self._names: Names | None = None

    def reset(self, init_state: int | None, seed: int, observe: bool = True) -> Observation | None:
        """See `envs.types.Environment`."""
        self.scene.place(init_state, seed, START_NOISE_RAD)
        return self.observe() if observe else None

    def step(self, action: np.ndarray, observe: bool = True) -> StepResult:
        """See `envs.types.Environment`. Raises `ActionError` for NaN, Inf, a wrong shape or a value out of range."""
        success = self.scene.advance(self.action_spec.check(action))
        return StepResult(self.observe() if observe else None, self.scene.state(), success, False, success)

    def observe(self) -> Observation:
        """What the stock environment would observe now; `reset` and `step` give the same when asked.

        That is up to 4 ms older than the present state; see `envs.libero.facts.Readings`.
        """
        images, size = {}, self.image_size
        if size:
            seen = self.scene.seen()
            images = {name: self._draw(seen, camera, size) for name, camera in CAMERAS.items()}
        truth = self._truth() if self.privileged else None
        return Observation(images, self.scene.seen_state(), self.task.instruction, truth)

    def look_privileged(self) -> Observation:
        """The same as `observe` with simulator truth and without images."""
        return Observation({}, self.scene.seen_state(), self.task.instruction, self._truth())

    def _truth(self) -> dict[str, np.ndarray]:
        if self._names is None:
            self._names = names_of(self.scene)
        return truth_of(self.scene, self._names)

    def render(self, camera: str, size: int) -> np.ndarray:
        """See `envs.types.Environment`; antialiased, whatever the policy's images are."""
        return self._draw(self.scene.data, CAMERAS.get(camera, camera), size, FILM_MULTISAMPLES)

    def _draw(self, data, camera: str, size: int, multisamples: int | None = None) -> np.ndarray:
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
        renderer.update_scene(data, camera, options)
        return renderer.render()

    def close(self) -> None:
        """See `envs.types.Environment`."""
        for renderer, _ in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self.scene.close()
