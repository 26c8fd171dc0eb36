"""The robot's controller, OSC_POSE, as one compiled kernel on MuJoCo's own arrays.

The law is that of robosuite 1.4.0 (`controllers/osc.py`, `PandaGripper.format_action`) after Khatib 1987: a critically
damped spring pulls the hand to a goal pose, its force and its torque are mapped to the joints through separate
operational-space inertias, and a weak spring in the null space pulls the arm to its rest pose. Two habits of the
original belong to a LIBERO episode and are kept: the first update after a reset still sees the arm as it was at the
reset, and the goal orientation stays where it was while no rotation is commanded.

Where robosuite inverts with singular values, this solves with Cholesky factors: the same numbers up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numba
import numpy as np

from envs.types import OSC_POSE

ARM = 7
"""Joints of the arm; they are the first of the model, and so are their actuators."""
KP, KD = 150.0, 2 * np.sqrt(150.0)
"""Gain (1/s^2) and damping (1/s) of the spring at the hand."""
REST_KP, REST_KD = 10.0, 2 * np.sqrt(10.0)
"""Gain (1/s^2) and damping (1/s) of the spring in the null space."""
TORQUE_LIMIT = np.array([80.0, 80.0, 80.0, 80.0, 80.0, 12.0, 12.0])
"""N m."""
GRIPPER_SPEED = 0.01
"""How far the gripper's command moves in one physics step; its full range is 2."""


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
        if s.fresh:
            _look(*self._seen, s.position, s.rotation, s.joints, s.jacobian, s.mass)
        s.fresh = True
        if first:
            self._aim(action)
        _command(s.position, s.rotation, s.joints, s.jacobian, s.mass, s.goal_position, s.goal_rotation, s.rest,
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


@numba.njit(cache=True)
def _look(site_pos, site_mat, anchor, axis, qpos, qvel, packed_mass, mass_address, parent,
          position, rotation, joints, jacobian, mass):
    """Copy what the controller uses of the physics; the arm has hinges only, so its Jacobian is two cross products."""
    for i in range(3):
        position[i] = site_pos[i]
        for k in range(3):
            rotation[i, k] = site_mat[3 * i + k]
    for j in range(ARM):
        joints[0, j], joints[1, j] = qpos[j], qvel[j]
        x, y, z = site_pos[0] - anchor[j, 0], site_pos[1] - anchor[j, 1], site_pos[2] - anchor[j, 2]
        a, b, c = axis[j]
        jacobian[0, j], jacobian[1, j], jacobian[2, j] = b * z - c * y, c * x - a * z, a * y - b * x
        jacobian[3, j], jacobian[4, j], jacobian[5, j] = a, b, c
        address, k = mass_address[j], j
        while k >= 0:
            mass[j, k] = mass[k, j] = packed_mass[address]
            address += 1
            k = parent[k]


@numba.njit(cache=True)
def _factor(matrix):
    """Lower Cholesky factor. A pivot lost to rounding is lifted, where robosuite's pseudo-inverse would drop it."""
    n = matrix.shape[0]
    lower = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(max(total, 1e-15 * matrix[i, i])) if i == j else total / lower[j, j]
    return lower


@numba.njit(cache=True)
def _solve(lower, right):
    """Solve `lower @ lower.T @ x = right` in place."""
    n = right.shape[0]
    for i in range(n):
        for k in range(i):
            right[i] -= lower[i, k] * right[k]
        right[i] /= lower[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right[i] -= lower[k, i] * right[k]
        right[i] /= lower[i, i]


@numba.njit(cache=True)
def _rotation_error(current, goal):
    """Half the sum over the axes of current x goal: the rotation vector to the goal for small angles."""
    e = np.zeros(3)
    for i in range(3):
        e[0] += 0.5 * (current[1, i] * goal[2, i] - current[2, i] * goal[1, i])
        e[1] += 0.5 * (current[2, i] * goal[0, i] - current[0, i] * goal[2, i])
        e[2] += 0.5 * (current[0, i] * goal[1, i] - current[1, i] * goal[0, i])
    return e


@numba.njit(cache=True)
def _inertia_inverse(jacobian, mass):
    """float64[6, 6]: J M^-1 J^T."""
    lower = _factor(mass)
    half = jacobian.copy()
    for row in range(6):
        for i in range(ARM):
            for k in range(i):
                half[row, i] -= lower[i, k] * half[row, k]
            half[row, i] /= lower[i, i]
    inverse = np.empty((6, 6))
    for i in range(6):
        for j in range(i + 1):
            total = 0.0
            for k in range(ARM):
                total += half[i, k] * half[j, k]
            inverse[i, j] = inverse[j, i] = total
    return inverse


@numba.njit(cache=True)
def _command(position, rotation, joints, jacobian, mass, goal_position, goal_rotation, rest, gripper, closing,
             middle, half, bias, ctrl):
    """Torques of the arm and commands of the fingers, written to `ctrl`."""
    wrench, drift, pull = np.zeros(6), np.zeros(6), np.empty(ARM)
    wrench[:3] = KP * (goal_position - position)
    wrench[3:] = KP * _rotation_error(rotation, goal_rotation)
    for j in range(ARM):
        pull[j] = REST_KP * (rest[j] - joints[0, j]) - REST_KD * joints[1, j]
    for i in range(6):
        for j in range(ARM):
            wrench[i] -= KD * jacobian[i, j] * joints[1, j]
            drift[i] += jacobian[i, j] * pull[j]
    inverse = _inertia_inverse(jacobian, mass)
    _solve(_factor(inverse[:3, :3]), wrench[:3])
    _solve(_factor(inverse[3:, 3:]), wrench[3:])
    # What the null-space spring would do to the hand is taken off again.
    _solve(_factor(inverse), drift)
    for j in range(ARM):
        torque = bias[j]
        for i in range(6):
            torque += jacobian[i, j] * (wrench[i] - drift[i])
        for k in range(ARM):
            torque += mass[j, k] * pull[k]
        ctrl[j] = min(max(torque, -TORQUE_LIMIT[j]), TORQUE_LIMIT[j])
    for i in range(2):
        moved = gripper[i] + (-GRIPPER_SPEED if i == 0 else GRIPPER_SPEED) * closing
        gripper[i] = min(max(moved, -1.0), 1.0)
        ctrl[ARM + i] = middle[i] + half[i] * gripper[i]
