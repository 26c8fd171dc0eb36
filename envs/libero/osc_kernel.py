"""The arithmetic of OSC_POSE, compiled; `envs.libero.osc` says what it computes and for whom.

A module of its own, because numba takes longer to import than a scene to open, and nobody needs it before the first
action.
"""

from __future__ import annotations

import numba
import numpy as np

from envs.libero.osc import ARM, TORQUE_LIMIT

KP, KD = 150.0, 2 * np.sqrt(150.0)
"""Gain (1/s^2) and damping (1/s) of the spring at the hand."""
REST_KP, REST_KD = 10.0, 2 * np.sqrt(10.0)
"""Gain (1/s^2) and damping (1/s) of the spring in the null space."""
GRIPPER_SPEED = 0.01
"""How far the gripper's command moves in one physics step; its full range is 2."""


@numba.njit(cache=True)
def look(site_pos, site_mat, anchor, axis, qpos, qvel, packed_mass, mass_address, parent,
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
def command(position, rotation, joints, jacobian, mass, goal_position, goal_rotation, rest, gripper, closing,
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
