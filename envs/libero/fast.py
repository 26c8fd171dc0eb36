"""A LIBERO scene that needs neither LIBERO nor robosuite to play an episode, at one dynamics pass a physics step.

It opens from a bundle (made on first use), restores official init states by itself and computes the controller in a
compiled kernel. LIBERO's own samplers are only asked for placements that are not in the bundle: those drawn for
training, and the poses of fixtures, once for each seed.

The trajectory is that of the stock environment up to rounding: the constraint solver starts from its own last solution
here, and from two further ones in the stock loop. `envs.libero.scene` is the bit-identical, slower alternative.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import mujoco
import numpy as np

from envs.libero import suite as suites
from envs.libero.bundle import bundle_folder, load, save
from envs.libero.facts import Readings
from envs.libero.osc import ControllerState, OscPose
from envs.types import TaskSpec

SUBSTEPS = 25
"""Physics steps of 2 ms in a control step of 50 ms."""


class FastScene(Readings):
    """The physics of one task; the same methods as `LiberoScene`."""

    def __init__(self, task: TaskSpec, assets: Path, lean: bool):
        self.task = task
        self._source = (task, assets, lean)
        self._stock = None
        folder = bundle_folder(task, assets, lean)
        if not folder.is_dir():
            self._write_bundle(folder)
        bundle = load(folder)
        self._folder = folder
        self.model, self.facts, self.states = bundle.model, bundle.facts, bundle.states
        self.data = mujoco.MjData(self.model)
        start = {name: value.item() if value.ndim == 0 else value for name, value in bundle.start.items()}
        self._start = ControllerState(**start)
        self._controller = OscPose(self.model, self.data, self.facts.hand_site, self._start)
        self._shown = self.data.qpos.copy()

    def _write_bundle(self, folder: Path) -> None:
        from envs.libero.export import controller_of

        stock = self._open_stock()
        stock.place(None, 0)
        save(folder, stock.model, stock.facts, asdict(controller_of(stock.problem)), stock.states)

    def _open_stock(self):
        """LIBERO's own environment of this task."""
        from envs.libero.scene import LiberoScene

        if self._stock is None:
            self._stock = LiberoScene(*self._source)
        return self._stock

    def place(self, init_state: int | None, seed: int, joint_noise: float = 0.0) -> None:
        """See `LiberoScene.place`."""
        suites.check_init_state(self.task, init_state, len(self.states))
        model, data = self.model, self.data
        mujoco.mj_resetData(model, data)
        if init_state is None:
            stock = self._open_stock()
            stock.place(None, seed, joint_noise)
            self._put_fixtures(self._fixtures_of(stock))
            data.time, data.qpos[:], data.qvel[:] = stock.data.time, stock.data.qpos, stock.data.qvel
        else:
            if self.facts.fixtures:
                self._put_fixtures(self._fixtures(seed))
            state = self.states[init_state]
            data.time, data.qpos[:], data.qvel[:] = state[0], state[1:1 + model.nq], state[1 + model.nq:]
        mujoco.mj_forward(model, data)
        self._shown[:] = data.qpos
        self._controller.state = self._start.copy()
        self._show_lights()

    def _fixtures(self, seed: int) -> np.ndarray:
        """float64[F, 7]: the poses that LIBERO draws for the fixtures from `seed`; drawn once, then read."""
        path = self._folder / "fixtures" / f"{seed}.npy"
        if not path.is_file():
            stock = self._open_stock()
            stock.place(0, seed)
            path.parent.mkdir(exist_ok=True)
            partial = path.with_suffix(".partial.npy")
            np.save(partial, self._fixtures_of(stock))
            partial.replace(path)
        return np.load(path)

    def _fixtures_of(self, stock) -> np.ndarray:
        bodies = [thing.body for thing in self.facts.fixtures.values()]
        return np.concatenate([stock.model.body_pos[bodies], stock.model.body_quat[bodies]], axis=1)

    def _put_fixtures(self, poses: np.ndarray) -> None:
        for thing, pose in zip(self.facts.fixtures.values(), poses, strict=True):
            self.model.body_pos[thing.body], self.model.body_quat[thing.body] = pose[:3], pose[3:]

    def advance(self, action: np.ndarray) -> bool:
        """Run one control step (50 ms) and return whether the goal holds."""
        model, data, drive = self.model, self.data, self._controller.drive
        step1, step2 = mujoco.mj_step1, mujoco.mj_step2
        for substep in range(SUBSTEPS):
            step1(model, data)
            self._shown[:] = data.qpos
            drive(action, substep == 0)
            step2(model, data)
        self._show_lights()
        return self.succeeded()

    def succeeded(self) -> bool:
        """Whether the goal holds."""
        return self.facts.goal_holds(self.data)

    def _show_lights(self) -> None:
        for light in self.facts.lights:
            visible = self.model.site_rgba[light.site, 3] > 0
            if visible != light.when.holds(self.data):
                self.model.site_rgba[light.site, 3] = 1 - self.model.site_rgba[light.site, 3]

    def snapshot(self) -> tuple:
        """Everything that `advance` depends on, for `restore`: physics, controller, gripper command."""
        return self._physics(), self._controller.state.copy()

    def restore(self, saved: tuple) -> None:
        """Return to a `snapshot` of this scene and placement; going on from there repeats every bit."""
        physics, controller = saved
        self._put_physics(physics)
        self._shown[:] = self.data.qpos
        self._controller.state = controller.copy()

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """What a data set keeps of this instant: float64[1 + nq + nv] as in the official init states, and float64[nq].

        The second are the positions that pictures show: MuJoCo computes where bodies are at the beginning of a physics
        step, so they are 2 ms behind after a control step.
        """
        data = self.data
        return np.concatenate([[data.time], data.qpos, data.qvel]), self._shown.copy()

    def fixture_poses(self) -> np.ndarray:
        """float64[F, 7]: position (m) and quaternion of each fixture in this episode, in the order of the facts."""
        return self._fixtures_of(self)

    def show(self, state: np.ndarray, shown: np.ndarray, fixtures: np.ndarray) -> None:
        """Look as at the instant of which `stored` and `fixture_poses` told, to the last bit of a picture.

        For pictures only: contacts and the controller are not brought back, so go on with `place` or `restore`.
        """
        model, data = self.model, self.data
        self._put_fixtures(fixtures)
        data.time, data.qpos[:], data.qvel[:] = state[0], state[1:1 + model.nq], state[1 + model.nq:]
        self._show_lights()
        data.qpos[:] = shown
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)

    def close(self) -> None:
        """Free what LIBERO holds, if it was asked for anything."""
        if self._stock is not None:
            self._stock.close()
            self._stock = None
