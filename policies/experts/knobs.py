"""Turn the knob of a stove on and off, by the present state alone.

The knob is a fin on a disc; seen from above it turns counter-clockwise to be on. The closed fingers come down beside
that end of the fin that is away from the robot, and push it around.
"""

from __future__ import annotations

import numpy as np

from policies.experts.approach import approach
from policies.experts.scene import DOWN, Goal, Move, Scene

ARM_M = 0.032
"""Distance of the pushing fingers from the pivot, along the fin."""
BESIDE_M = 0.026
"""Distance of the middle of the closed fingers from the middle of the fin when they touch it."""
HEIGHT_M = 0.035
"""Height of the point between the finger tips above the origin of the stove; the fin ends at 50 mm."""
APART_M = 0.025
"""Gap in which the fingers come down."""
LEAD_RAD = 1.0
"""How far ahead of the fingers the goal is while they push."""


def turn_on(scene: Scene, goal: Goal) -> Move:
    """Push the fin counter-clockwise."""
    return _push(scene, goal, 1.0)


def turn_off(scene: Scene, goal: Goal) -> Move:
    """Push the fin clockwise."""
    return _push(scene, goal, -1.0)


def _push(scene: Scene, goal: Goal, way: float) -> Move:
    stove, at = scene.rotations[goal.subject], scene.joints[goal.joint]
    fin = stove @ np.array([np.cos(at), np.sin(at), 0.0])
    ahead = way * np.cross(stove[:, 2], fin)
    pivot = scene.positions[goal.subject] + HEIGHT_M * stove[:, 2]
    contact = pivot + ARM_M * fin - BESIDE_M * ahead
    away = scene.hand - contact
    along, forth, above = away @ fin, away @ ahead, away @ stove[:, 2]
    if abs(along) < 0.015 and above < 0.012 and -APART_M - 0.02 < forth < 0.015:
        # On a circle about the pivot and turning with the knob, so that nothing slides and friction cannot jam it.
        lead = about_vertical(way * LEAD_RAD)
        return Move(pivot + lead @ (contact - pivot), about_vertical(at + way * LEAD_RAD) @ DOWN, True)
    start = contact - APART_M * ahead
    return approach(scene, start, about_vertical(at) @ DOWN, True, goal.subject, bool(above < 0.02 and forth > 0.0))


def about_vertical(angle: float) -> np.ndarray:
    """float64[3, 3]: a turn about z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
