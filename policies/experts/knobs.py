"""Turn the knob of a stove on and off, by the present state alone.

The knob is a fin on a disc; seen from above it turns counter-clockwise to be on. The open fingers come down on both
sides of it, and the hand turns about the knob's axis until one finger is at each end of the fin, and on: two equal
forces that do nothing but turn. (One finger that pushes at one end jams: the way from the axis to the touched edge is
no longer than the fin is thick, so friction at the edge balances the push.)
"""

from __future__ import annotations

import numpy as np

from policies.experts.approach import angle, approach
from policies.experts.drive import turned
from policies.experts.scene import Goal, Move, Scene

HEIGHT_M = 0.040
"""Height of the point between the finger tips above the origin of the stove; the fin ends at 50 mm."""
OVER_RAD = 0.6
"""Angle between the line through the fingers and the fin's normal with which they come down; they touch it at 1.0."""
TURN_RAD = 1.5
"""The same angle that is wanted while they turn."""
CENTRED_M = 0.012
"""Distance from the axis within which the hand comes down and begins to turn."""
HOVER_M = 0.05
"""Height over the axis at which the fingers wait until they are centred."""


def turn_on(scene: Scene, goal: Goal) -> Move:
    """Turn the fin counter-clockwise."""
    return _turn(scene, goal, 1.0)


def turn_off(scene: Scene, goal: Goal) -> Move:
    """Turn the fin clockwise."""
    return _turn(scene, goal, -1.0)


def _turn(scene: Scene, goal: Goal, way: float) -> Move:
    stove, at = scene.rotations[goal.subject], scene.joints[goal.joint]
    fin = float(np.arctan2(stove[1, 0], stove[0, 0])) + at
    axis = scene.positions[goal.subject] + np.array([0.0, 0.0, HEIGHT_M])
    error, above = float(np.linalg.norm((scene.hand - axis)[:2])), scene.hand[2] - axis[2]
    if error < 2.0 * CENTRED_M and above < 0.012:
        return Move(axis, nearest(scene, turned(fin + way * TURN_RAD)), False)
    # Higher while it is not over the axis: fingers that land on the fin are stuck there.
    place = axis + np.array([0.0, 0.0, np.clip(6.0 * (error - CENTRED_M), 0.0, HOVER_M)])
    return approach(scene, place, nearest(scene, turned(fin + way * OVER_RAD)), False, goal.subject)


def nearest(scene: Scene, rotation: np.ndarray) -> np.ndarray:
    """float64[3, 3]: `rotation` or the same with the two equal fingers swapped, whichever needs less turning."""
    swapped = rotation * np.array([-1.0, -1.0, 1.0])
    return min(rotation, swapped, key=lambda wanted: angle(wanted, scene.hand_rotation))
