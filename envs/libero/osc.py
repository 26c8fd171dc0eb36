"""The robot's controller, OSC_POSE, on MuJoCo's own arrays; `envs.libero.osc_kernel` has its compiled arithmetic.

The law is that of robosuite 1.4.0 (`controllers/osc.py`, `PandaGripper.format_action`) after Khatib 1987: a critically
damped spring pulls the hand to a goal pose, its force and its torque are mapped to the joints through separate
operational-space inertias, and a weak spring in the null space pulls the arm to its rest pose. Two habits of the
original belong to a LIBERO episode and are kept: the first update after a reset still sees the arm as it was at the
reset, and the goal orientation stays where it was while no rotation is commanded.

Where robosuite inverts with singular values, this solves with Cholesky factors: the same numbers up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from envs.types import OSC_POSE

ARM = 7
"""Joints of the arm; they are the first of the model, and so are their actuators."""
TORQUE_LIMIT = np.array([80.0, 80.0, 80.0, 80.0, 80.0, 12.0, 12.0])
"""N m."""


@dataclass
class ControllerState:
    """What the controller remembers from one physics step to the next."""

    position: np.ndarray
    """float64[3], m: the hand at the last update."""
    rotation: np.ndarray
    """float64[3, 3]: the hand at the last update."""
    joints: np.ndarray
    """float64[2, 7]: joint positions (rad) and velocities (rad/s) at the last update."""
    jacobian: np.ndarray
    """float64[6, 7]: velocity and angular velocity of the hand per joint velocity at the last update."""
    mass: np.ndarray
    """float64[7, 7]: the arm's mass matrix at the last update."""
    goal_position: np.ndarray
    """float64[3], m."""
    goal_rotation: np.ndarray
    """float64[3, 3]."""
    rest: np.ndarray
    """float64[7], rad: the arm's pose at the reset."""
    gripper: np.ndarray
    """float64[2], -1 .. 1: command to the two fingers."""
    fresh: bool
    """False until the first torques after a reset: until then the values of the reset are used."""

    def copy(self) -> ControllerState:
        """An independent copy."""
        values = (getattr(self, field.name) for field in fields(self))
        return ControllerState(*(v.copy() if isinstance(v, np.ndarray) else v for v in values))


class OscPose:
    """The controller of one scene. `aim` sets the goal of an action, `drive` writes `data.ctrl` for a physics step."""

    def __init__(self, model, data, hand_site: int, start: ControllerState):
        self.state = start.copy()
        self._kernel = None
        # Views into MuJoCo's memory: the kernel reads and writes them in place.
        self._seen = (data.site_xpos[hand_site], data.site_xmat[hand_site], data.xanchor, data.xaxis, data.qpos,
                      data.qvel, data.qM, model.dof_Madr, model.dof_parentid)
        self._bias, self._ctrl = data.qfrc_bias, data.ctrl
        low, high = model.actuator_ctrlrange[ARM:ARM + 2].T
        self._middle, self._half = 0.5 * (high + low), 0.5 * (high - low)

    def drive(self, action: np.ndarray, first: bool) -> None:
        """Command the actuators for the next physics step; `first` is the first of an action.

        Positions and velocities in the data must be up to date, as after `mj_step1`.
        """
        s = self.state
        if self._kernel is None:
            from envs.libero import osc_kernel

            self._kernel = osc_kernel.look, osc_kernel.command
        look, command = self._kernel
        if s.fresh:
            look(*self._seen, s.position, s.rotation, s.joints, s.jacobian, s.mass)
        s.fresh = True
        if first:
            self._aim(action)
        command(s.position, s.rotation, s.joints, s.jacobian, s.mass, s.goal_position, s.goal_rotation, s.rest,
                s.gripper, np.sign(action[6]), self._middle, self._half, self._bias, self._ctrl)

    def _aim(self, action: np.ndarray) -> None:
        s = self.state
        s.goal_position[:] = s.position + action[:3] * OSC_POSE.translation_m
        if action[3:6].any():
            s.goal_rotation[:] = rotation_matrix(action[3:6] * OSC_POSE.rotation_rad) @ s.rotation


def rotation_matrix(axis_angle: np.ndarray) -> np.ndarray:
    """float64[3, 3] of a rotation vector (rad). Single precision inside, as in robosuite's `quat2mat`."""
    angle = np.linalg.norm(axis_angle)
    if angle == 0.0:
        return np.eye(3)
    q = np.array([np.cos(angle / 2.0), *(axis_angle / angle * np.sin(angle / 2.0))]).astype(np.float32)
    q = (q * np.sqrt(2.0 / np.float64(np.dot(q, q)))).astype(np.float32)
    p = np.outer(q, q)
    return np.array([
        [1.0 - float(p[2, 2]) - float(p[3, 3]), p[1, 2] - p[3, 0], p[1, 3] + p[2, 0]],
        [p[1, 2] + p[3, 0], 1.0 - float(p[1, 1]) - float(p[3, 3]), p[2, 3] - p[1, 0]],
        [p[1, 3] - p[2, 0], p[2, 3] + p[1, 0], 1.0 - float(p[1, 1]) - float(p[2, 2])],
    ])
