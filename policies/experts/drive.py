"""From where the hand should be to one operational-space action: the only controller of the experts."""

from __future__ import annotations

import numpy as np

from envs.types import OSC_POSE
from policies.experts.scene import DOWN, Move, Scene

GAIN = 2.5
"""Commanded displacement over remaining displacement; the arm lags its goal, so it is above 1."""
TURN_GAIN = 2.0
"""The same for the rotation."""


SHOULDER_M, ARM_M, WRIST_M, WRIST_ASIDE_M = 0.333, 0.702, 0.203, 0.088
"""The arm: its shoulder above its foot, the length from there to the wrist when it is nearly stretched, and from the
wrist to the point between the finger tips, along the hand and towards the outside."""

STRAIGHT_RAD = -0.45
"""Position of the elbow from which on it is bent the wrong way."""
AHEAD_M = 0.04
"""How far ahead a rise is looked at: the higher the hand, the nearer it must be."""


def drive(scene: Scene, move: Move) -> np.ndarray:
    """float32[7]: the action that brings the hand towards `move`; a wrongly bent elbow is straightened first."""
    grip = 1.0 if move.closed else -1.0
    if scene.elbow_rad > STRAIGHT_RAD:
        return np.array([*_stretch(scene), 0.0, 0.0, 0.0, grip], dtype=np.float32)
    shift = np.clip(GAIN * (within_reach(scene, move.position) - scene.hand) / OSC_POSE.translation_m, -1.0, 1.0)
    wanted = DOWN if move.rotation is None else move.rotation
    turn = TURN_GAIN * rotation_vector(wanted @ scene.hand_rotation.T) / OSC_POSE.rotation_rad
    return np.array([*shift, *turn / max(1.0, abs(turn).max()), grip], dtype=np.float32)


def _stretch(scene: Scene) -> np.ndarray:
    """float64[3], as in an action: away from the shoulder, through the straight arm, so that the elbow bends back."""
    shoulder = scene.base + [0.0, 0.0, SHOULDER_M]
    out = scene.hand - WRIST_M * scene.hand_rotation[:, 2] - shoulder
    return out / np.linalg.norm(out)


def within_reach(scene: Scene, position: np.ndarray) -> np.ndarray:
    """float64[3]: `position`, or one as high that is nearer to the arm's foot.

    From the wrist to the shoulder the arm is 0.719 m long where its elbow is stretched, at -0.47 rad. Beyond, the elbow
    bends the other way, as far as it can go, and drawing back only holds it there.
    """
    soon = scene.hand[2] + np.clip(position[2] - scene.hand[2], 0.0, AHEAD_M)
    there = np.array([*position[:2], soon])
    away = (there - WRIST_M * scene.hand_rotation[:, 2] - scene.base)[:2]
    beyond = max(overreach(scene.base, there, scene.hand_rotation), 0.0)
    return position - beyond * np.array([*away, 0.0]) / max(np.linalg.norm(away), 1e-9)


def overreach(base: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> float:
    """m: how much farther from `base`, the foot of the arm, the wrist of a hand at `position` is than it should be."""
    wrist = position - WRIST_M * rotation[:, 2] - base
    most = WRIST_ASIDE_M + np.sqrt(max(ARM_M**2 - (wrist[2] - SHOULDER_M) ** 2, 0.0))
    return float(np.linalg.norm(wrist[:2]) - most)


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """float64[3], rad: axis times angle of a rotation matrix, the angle at most pi."""
    twice_sine = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0],
                           rotation[1, 0] - rotation[0, 1]])
    sine, cosine = np.linalg.norm(twice_sine) / 2.0, (np.trace(rotation) - 1.0) / 2.0
    angle = np.arctan2(sine, cosine)
    if sine > 1e-6:
        return twice_sine / (2.0 * sine) * angle
    if cosine > 0:
        return twice_sine / 2.0
    # Half a turn: the axis is the column of R + 1 that is longest.
    columns = rotation + np.eye(3)
    axis = columns[:, np.argmax(np.linalg.norm(columns, axis=0))]
    return np.pi * axis / np.linalg.norm(axis)


def yawed(yaw: float) -> np.ndarray:
    """float64[3, 3]: a turn by `yaw` about the world's z."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def turned(yaw: float) -> np.ndarray:
    """float64[3, 3]: a hand that points down, turned by `yaw` from `DOWN`."""
    return yawed(yaw) @ DOWN


def leaning(lean: float) -> np.ndarray:
    """float64[3, 3]: a turn by `lean` about the axis along which the fingers open, to be applied from the right."""
    c, s = np.cos(lean), np.sin(lean)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
