"""A LIBERO scene that needs neither LIBERO nor robosuite to play an episode, at one dynamics pass a physics step.

It opens from a bundle (made on first use), restores official init states by itself and computes the controller in a
compiled kernel. LIBERO's own samplers are only asked for placements that are not in the bundle: those drawn for
training, and the poses of fixtures, once for each seed.

The trajectory is that of the stock environment up to rounding. The stock loop solves for the contact forces three times
a physics step, twice with the commands of the step before. Where the solver ends at the minimum in a step or two, it
makes no difference from where it started, and one solution is enough; elsewhere all three are computed.
`envs.libero.scene` is the bit-identical, slower alternative.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import mujoco
import numpy as np

from envs.libero import suite as suites
from envs.libero.bundle import bundle_folder, load, save
from envs.libero.facts import SEEN_SUBSTEP, SUBSTEPS, Readings
from envs.libero.osc import ControllerState, OscPose
from envs.types import AssetsError, TaskSpec

_EXACT, _STEPS = 1e-15, 2
"""Gradient of the solver's cost, scaled as MuJoCo does, below which nothing but rounding is left of it, and in how many
steps the solver must have come there: after more of them a nearly flat direction may be left."""


class FastScene(Readings):
    """The physics of one task; the same methods as `LiberoScene`."""

    stepping = "fast"

    def __init__(self, task: TaskSpec, assets: Path, lean: bool, bundles: Path):
        self.task = task
        self._source = (task, assets, lean)
        self._stock = None
        folder = bundle_folder(task, bundles, lean)
        if not folder.is_dir():
            self._write_bundle(folder)
        bundle = load(folder)
        self._folder, self._fingers = folder, list(bundle.facts.fingers)
        self.model, self.facts, self.states = bundle.model, bundle.facts, bundle.states
        self.data = mujoco.MjData(self.model)
        start = {name: value.item() if value.ndim == 0 else value for name, value in bundle.start.items()}
        self._start = ControllerState(**start)
        self._controller = OscPose(self.model, self.data, self.facts.hand_site, self._start)
        self._hard = False

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
        self._controller.state, self._hard = self._start.copy(), False
        self._show_lights()
        self._see()

    def _fixtures(self, seed: int) -> np.ndarray:
        """float64[F, 7]: the poses that LIBERO draws for the fixtures from `seed`; drawn once, then read."""
        path = self._folder / "fixtures" / f"{seed}.npy"
        if not path.is_file():
            stock = self._open_stock()
            stock.place(0, seed)
            path.parent.mkdir(exist_ok=True)
            # Another process may draw the same seed at the same time.
            partial = path.with_suffix(f".{os.getpid()}.npy")
            np.save(partial, self._fixtures_of(stock))
            partial.replace(path)
        try:
            poses = np.load(path)
        except (ValueError, EOFError) as error:
            raise AssetsError(f"the fixture poses in {path} cannot be read ({error}); delete the file, and they are "
                              "drawn again") from error
        return poses

    def _fixtures_of(self, stock) -> np.ndarray:
        bodies = [thing.body for thing in self.facts.fixtures.values()]
        return np.concatenate([stock.model.body_pos[bodies], stock.model.body_quat[bodies]], axis=1)

    def _put_fixtures(self, poses: np.ndarray) -> None:
        for thing, pose in zip(self.facts.fixtures.values(), poses, strict=True):
            self.model.body_pos[thing.body], self.model.body_quat[thing.body] = pose[:3], pose[3:]

    def advance(self, action: np.ndarray) -> bool:
        """Run one control step (50 ms) and return whether the goal holds."""
        model, data, drive = self.model, self.data, self._controller.drive
        step1, solve, check, integrate = mujoco.mj_step1, self._solve, mujoco.mj_checkAcc, mujoco.mj_Euler
        ctrl, before = data.ctrl, np.empty(model.nu)
        self._show_lights()
        for substep in range(SUBSTEPS):
            step1(model, data)
            before[:] = ctrl
            drive(action, substep == 0)
            solve(before)
            if substep == SEEN_SUBSTEP:
                self._seen_qpos[:] = data.qpos
            check(model, data)
            integrate(model, data)
            if substep == SEEN_SUBSTEP:
                self._seen_fingers[:] = data.qpos[self._fingers]
        return self.succeeded()

    def _solve(self, before: np.ndarray) -> None:
        """Accelerations and contact forces as the stock loop finds them; `before` is the last step's `ctrl`."""
        data = self.data
        if not self._hard:
            start = data.qacc_warmstart.copy()
            if self._forward():
                return
            data.qacc_warmstart[:] = start
        now = data.ctrl.copy()
        data.ctrl[:] = before
        # Contacts that were hard to solve mostly stay so: the next step need not try with one solution first.
        self._hard = not self._forward()
        self._forward()
        data.ctrl[:] = now
        self._forward()

    def _forward(self) -> bool:
        """Solve once; whether nothing but rounding is left between this solution and the true one."""
        data = self.data
        mujoco.mj_forwardSkip(self.model, data, mujoco.mjtStage.mjSTAGE_VEL, 1)
        iterations = data.solver_niter[0]
        return iterations == 0 or (iterations <= _STEPS and data.solver.gradient[iterations - 1] <= _EXACT)

    def succeeded(self) -> bool:
        """Whether the goal holds."""
        return self.facts.goal_holds(self.data)

    def _show_lights(self) -> None:
        """Switch lights as fixtures stand now; pictures show them as they stood before the action, as in the stock
        environment."""
        for light in self.facts.lights:
            visible = self.model.site_rgba[light.site, 3] > 0
            if visible != light.when.holds(self.data):
                self.model.site_rgba[light.site, 3] = 1 - self.model.site_rgba[light.site, 3]

    def snapshot(self) -> tuple:
        """Everything that `advance` depends on, for `restore`: physics, controller, gripper command."""
        return self._physics(), self._controller.state.copy(), self._hard

    def restore(self, saved: tuple) -> None:
        """Return to a `snapshot` of this scene and placement; going on from there repeats every bit."""
        physics, controller, self._hard = saved
        self._put_physics(physics)
        self._controller.state = controller.copy()

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """What a data set keeps of this instant: float64[1 + nq + nv] as in the official init states, and float64[nq +
        2 + L]: what is observed, up to 4 ms older: positions, finger joints, and for each light whether it is on.
        """
        data, lit = self.data, self.model.site_rgba[self._light_sites, 3]
        state = np.concatenate([[data.time], data.qpos, data.qvel])
        return state, np.concatenate([self._seen_qpos, self._seen_fingers, lit])

    def fixture_poses(self) -> np.ndarray:
        """float64[F, 7]: position (m) and quaternion of each fixture in this episode, in the order of the facts."""
        return self._fixtures_of(self)

    def show(self, state: np.ndarray, seen: np.ndarray, fixtures: np.ndarray) -> None:
        """Look as at the instant of which `stored` and `fixture_poses` told, to the last bit of a picture.

        For pictures only: contacts and the controller are not brought back, so go on with `place` or `restore`.
        """
        model, data = self.model, self.data
        self._put_fixtures(fixtures)
        data.time, data.qpos[:], data.qvel[:] = state[0], state[1:1 + model.nq], state[1 + model.nq:]
        self._seen_qpos, self._seen_fingers = seen[:model.nq].copy(), seen[model.nq:model.nq + 2].copy()
        model.site_rgba[self._light_sites, 3] = seen[model.nq + 2:]

    @property
    def _light_sites(self) -> list[int]:
        return [light.site for light in self.facts.lights]

    def close(self) -> None:
        """Free what LIBERO holds, if it was asked for anything."""
        if self._stock is not None:
            self._stock.close()
            self._stock = None
