"""One compiled LIBERO scene: LIBERO's own problem class, compiled once, restored for every episode.

The stock environment rebuilds its scene at each reset and computes the dynamics three times per physics step. Here the
model is compiled once; an episode restores what a rebuild would give, and the control step computes positions and
velocities once per physics step. Both give the stock environment's states, bit for bit.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from envs.libero import suite as suites
from envs.libero.facts import SEEN_SUBSTEP, SUBSTEPS, Readings
from envs.libero.process import prepare
from envs.types import InitStateError, TaskSpec

_PLACEMENT_TRIES = 200
"""Random placements that may fail before the scene is called impossible (LIBERO's own loop never ends)."""


@contextmanager
def _never_asking():
    """Let a placement that fails raise. One of LIBERO's samplers starts a debugger instead, which waits for a user."""
    import pdb

    from robosuite.utils.errors import RandomizationError

    def refuse(*args, **kwargs):
        raise RandomizationError("no place inside the region was found")

    before = pdb.set_trace
    pdb.set_trace = refuse
    try:
        yield
    finally:
        pdb.set_trace = before


def _problem(task: TaskSpec, assets: Path, lean: bool, camera_pixels: int = 0):
    """LIBERO's environment object for `task`; `camera_pixels` 0 is without cameras or a renderer."""
    import libero.libero.envs  # noqa: F401  (registers the problem classes)
    import robosuite
    from libero.libero.envs import bddl_utils
    from libero.libero.envs.bddl_base_domain import TASK_MAPPING

    from envs.pack.robot import use_lean_look  # it imports what simplifies meshes

    file = str(suites.bddl_file(task))
    stock = TASK_MAPPING[bddl_utils.get_problem_info(file)["problem_name"]]

    def initialize(self, xml_string=None):
        xml = xml_string or self.model.get_xml()
        super(problem, self)._initialize_sim(use_lean_look(xml, assets) if lean else xml)
        # The constructor goes on to place the fixtures, but the samplers assume them where the compiler put them.
        model = self.sim.model._model
        self.compiled_poses = model.body_pos.copy(), model.body_quat.copy()

    def reset_internal(self):
        with _never_asking():
            super(problem, self)._reset_internal()

    # LIBERO compares the class's name with the problem's, so the subclass keeps it.
    problem = type(stock.__name__, (stock,), {"_initialize_sim": initialize, "_reset_internal": reset_internal})
    return problem(
        file, robots=["Panda"], controller_configs=robosuite.load_controller_config(default_controller="OSC_POSE"),
        initialization_noise=None, use_camera_obs=camera_pixels > 0, has_offscreen_renderer=camera_pixels > 0,
        camera_names=["agentview", "robot0_eye_in_hand"], camera_heights=camera_pixels, camera_widths=camera_pixels,
        horizon=10**9, renderer="mujoco", renderer_config=None,
    )


class LiberoScene(Readings):
    """The physics of one task: place, advance, ask whether the goal holds."""

    stepping = "exact"

    def __init__(self, task: TaskSpec, assets: Path, lean: bool):
        prepare(assets)
        from robosuite.utils.errors import RandomizationError

        from envs.libero.export import facts_of

        self.task = task
        self._failed_placement = RandomizationError
        state = np.random.get_state()
        try:
            self.problem = self._first(lean, assets)
        finally:
            np.random.set_state(state)
        self.problem.hard_reset = False
        # LIBERO draws the joints of "open" and "close" once more after every rebuild; an evaluation has had two.
        self.problem.object_property_initializers *= 2
        # A rebuilt scene has run its dynamics twice before it is placed, the second time when its renderer was made;
        # each moves the solver's warm start.
        sim = self.problem.sim
        sim.reset = lambda: (type(sim).reset(sim), sim.forward(), sim.forward())
        self.states = suites.init_states(task, 1 + self.model.nq + self.model.nv)
        self.facts = facts_of(self.problem)

    def _first(self, lean: bool, assets: Path):
        for seed in range(_PLACEMENT_TRIES):
            np.random.seed(seed)
            try:
                return _problem(self.task, assets, lean)
            except self._failed_placement:
                continue
        raise InitStateError(f"{self.task.name}: no placement found in {_PLACEMENT_TRIES} tries")

    @property
    def model(self):
        """The compiled `mujoco.MjModel`."""
        return self.problem.sim.model._model

    @property
    def data(self):
        """The `mujoco.MjData` that goes with it."""
        return self.problem.sim.data._data

    def place(self, init_state: int | None, seed: int, joint_noise: float = 0.0) -> None:
        """Restore the scene as a rebuild would, then set official init state `init_state`, or the drawn placement.

        `joint_noise` is the standard deviation (radians) of the arm's start pose; the official init states have 0.02.
        Raises `InitStateError` for an index out of range.
        """
        suites.check_init_state(self.task, init_state, len(self.states))
        before = np.random.get_state()
        try:
            self._restore(seed)
        finally:
            np.random.set_state(before)
        sim = self.problem.sim
        if init_state is not None:
            sim.set_state_from_flattened(self.states[init_state])
        elif joint_noise:
            sim.data.qpos[:7] += np.random.default_rng([seed, 1]).normal(0.0, joint_noise, 7)
        sim.forward()
        self.problem._check_success()
        self.problem._post_process()
        self._see()

    def _restore(self, seed: int) -> None:
        for attempt in range(_PLACEMENT_TRIES):
            self.model.body_pos[:], self.model.body_quat[:] = self.problem.compiled_poses
            np.random.seed((seed + 7919 * attempt) % 2**32)
            try:
                # robosuite keeps the gripper's last command over a soft reset.
                self.problem.robots[0].gripper.current_action = np.zeros(self.problem.robots[0].gripper.dof)
                self.problem.reset()
                return
            except self._failed_placement:
                continue
        raise InitStateError(f"{self.task.name}: no placement found for seed {seed} in {_PLACEMENT_TRIES} tries")

    def advance(self, action: np.ndarray) -> bool:
        """Run one control step (50 ms) and return whether the goal holds.

        The same as robosuite's `step`, whose two extra forward passes a physics step find positions and velocities up
        to date. Their constraint solve stays: in MuJoCo 3.2.3 it moves the warm start, and so the last bits.
        """
        import mujoco

        problem, model, data = self.problem, self.model, self.data
        sim = problem.sim
        problem.timestep += 1
        # Switches lights as fixtures stand now. LIBERO does it at the end of its step, after the pictures.
        problem._post_process()
        sim.forward = lambda: mujoco.mj_forwardSkip(model, data, mujoco.mjtStage.mjSTAGE_VEL, 1)
        try:
            for substep in range(SUBSTEPS):
                mujoco.mj_step1(model, data)
                sim.forward()
                problem._pre_action(action, substep == 0)
                if substep == SEEN_SUBSTEP:
                    self._seen_qpos[:] = data.qpos
                mujoco.mj_step2(model, data)
                if substep == SEEN_SUBSTEP:
                    self._seen_fingers[:] = data.qpos[list(self.facts.fingers)]
        finally:
            del sim.forward
        problem.cur_time += problem.control_timestep
        return self.succeeded()

    def succeeded(self) -> bool:
        """Whether the goal holds, asked of LIBERO."""
        return bool(self.problem._check_success())

    def snapshot(self) -> tuple:
        """Everything that `advance` depends on, for `restore`: physics, controller, gripper command."""
        robot = self.problem.robots[0]
        controller = {k: np.copy(v) for k, v in vars(robot.controller).items() if isinstance(v, np.ndarray)}
        return self._physics(), controller, robot.controller.new_update, robot.gripper.current_action.copy()

    def restore(self, saved: tuple) -> None:
        """Return to a `snapshot` of this scene."""
        physics, controller, new_update, gripper = saved
        self._put_physics(physics)
        robot = self.problem.robots[0]
        vars(robot.controller).update({k: np.copy(v) for k, v in controller.items()})
        robot.controller.new_update = new_update
        robot.gripper.current_action = gripper.copy()

    def close(self) -> None:
        """Free the model."""
        self.problem.close()
