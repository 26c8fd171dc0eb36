"""Turn the knob of a stove on and off, by the present state alone.

The knob is a fin on a disc; seen from above it turns counter-clockwise to be on. On is a quarter of the way, for which
the closed fingers push one end of the fin. Off can be the whole way, and there such a push jams: the way from the axis
to the touched edge is little longer than the fin is thick, so friction at the edge balances the push. Therefore the
open fingers come down on both sides of the fin, and the hand turns about the axis until one finger is at each end of
it, and on: two equal forces that do nothing but turn.
"""

from __future__ import annotations

import numpy as np

from policies.experts.approach import angle, approach
from policies.experts.drive import turned
from policies.experts.scene import DOWN, Goal, Move, Scene

ARM_M = 0.032
"""Distance of the pushing fingers from the axis, along the fin."""
BESIDE_M = 0.026
"""Distance of the middle of the closed fingers from the middle of the fin when they touch it."""
APART_M = 0.025
"""Gap in which the closed fingers come down."""
LEAD_RAD = 1.0
"""How far ahead of the fin the goal of the pushing hand is, in its place around the axis and in its own turn."""
PUSH_HEIGHT_M, TURN_HEIGHT_M = 0.035, 0.040
"""Height of the point between the finger tips above the origin of the stove; the fin ends at 50 mm."""
OVER_RAD = 0.7
"""Angle between the line through the fingers and the fin's normal with which they come down; they touch it at 1.0."""
TURN_RAD = 1.15
"""The same angle that is wanted while they turn."""
CENTRED_M = 0.012
"""Distance from the axis within which the hand comes down."""
AROUND_M = 0.035
"""Distance from the axis within which a hand that is down has the fin between its fingers."""
HOVER_M = 0.05
"""Height over the axis at which the fingers wait until they are centred."""


def turn_on(scene: Scene, goal: Goal) -> Move:
    """Push the end of the fin that is away from the robot, counter-clockwise."""
    fin = _fin(scene, goal)
    along, ahead = np.array([np.cos(fin), np.sin(fin), 0.0]), np.array([-np.sin(fin), np.cos(fin), 0.0])
    axis = scene.positions[goal.subject] + np.array([0.0, 0.0, PUSH_HEIGHT_M])
    contact = axis + ARM_M * along - BESIDE_M * ahead
    away = scene.hand - contact
    aside, forth, above = abs(away @ along), float(away @ ahead), away[2]
    if aside < 0.015 and above < 0.012 and -APART_M - 0.02 < forth < 0.015:
        # On a circle and turning with the knob, so that nothing has to slide.
        onward = turned(LEAD_RAD) @ DOWN.T @ (contact - axis)
        return Move(axis + onward, turned(fin + LEAD_RAD), True)
    behind = bool(above < 0.02 and forth > 0.0)
    return approach(scene, contact - APART_M * ahead, turned(fin), True, goal.subject, behind)


def turn_off(scene: Scene, goal: Goal) -> Move:
    """Put the fingers around the fin and turn the hand clockwise."""
    fin = _fin(scene, goal)
    axis = scene.positions[goal.subject] + np.array([0.0, 0.0, TURN_HEIGHT_M])
    error, above = float(np.linalg.norm((scene.hand - axis)[:2])), scene.hand[2] - axis[2]
    if error < AROUND_M and above < 0.018:
        return Move(axis, nearest(scene, turned(fin - TURN_RAD)), False)
    # Higher while it is not over the axis: fingers that land on the fin are stuck there.
    place = axis + np.array([0.0, 0.0, np.clip(6.0 * (error - CENTRED_M), 0.0, HOVER_M)])
    return approach(scene, place, nearest(scene, turned(fin - OVER_RAD)), False, goal.subject)


def _fin(scene: Scene, goal: Goal) -> float:
    """Direction (rad, world) of the fin's end that points away from the robot while the stove is off."""
    stove = scene.rotations[goal.subject]
    return float(np.arctan2(stove[1, 0], stove[0, 0])) + scene.joints[goal.joint]


def nearest(scene: Scene, rotation: np.ndarray) -> np.ndarray:
    """float64[3, 3]: `rotation` or the same with the two equal fingers swapped, whichever needs less turning."""
    swapped = rotation * np.array([-1.0, -1.0, 1.0])
    return min(rotation, swapped, key=lambda wanted: angle(wanted, scene.hand_rotation))
