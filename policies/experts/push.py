"""Push something flat and round along the table, by the present state alone.

Its rim cannot be pinched from above: the pads slide up its slope. The open hand comes down behind it, so that it lies
against both fingers as in a fork, and pushes; the palm leans forward over it, for there may be furniture behind.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policies.experts.grasps import FINGER_BELOW_M, Hold
from policies.experts.place import reach
from policies.experts.scene import Goal, Move, Scene
from policies.experts.spots import spot_of

BEHIND_M, GAP_M = 0.062, 0.018
"""Distance of the hand from the middle of a plate that lies against both fingers, and how much further away it comes
down."""
LEAD_M = 0.03
"""How far ahead of the hand its goal is while it pushes."""
LEAN_RAD = 0.4
"""How far the palm leans forward."""
ABOVE_M = 0.001
"""Height of the finger tips above the table."""
ASIDE_M, LOW_M = 0.035, 0.02
"""How far from the hand's way the middle of the plate may be, and how far above the height of pushing the hand."""
LEVEL = np.array([1.0, 1.0, 0.0])


def push(scene: Scene, goal: Goal) -> Move:
    """Bring `goal.subject` to where `goal` wants it without lifting it."""
    middle, spot = scene.positions[goal.subject], spot_of(scene, goal).position
    height = scene.bottom(goal.subject) + FINGER_BELOW_M + ABOVE_M
    # From the hand, not from the plate: near the spot the way from there would turn with every millimetre aside.
    onward = _level_direction(spot - scene.hand)
    ahead = float((middle - scene.hand) @ onward)
    aside = (middle - scene.hand - ahead * onward) * LEVEL
    behind = BEHIND_M - GAP_M < ahead < BEHIND_M + 2.0 * GAP_M and np.linalg.norm(aside) < ASIDE_M
    if behind and scene.hand[2] < height + LOW_M:
        forth = scene.hand + LEAD_M * onward + 0.5 * aside
        return Move(np.array([*forth[:2], height]), across(onward, scene.hand, height).rotation, False)
    onward = _level_direction(spot - middle)
    hold = across(onward, middle - (BEHIND_M + GAP_M) * onward, height)
    return replace(reach(scene, goal.subject, hold), closed=False)


def across(onward: np.ndarray, place: np.ndarray, height: float) -> Hold:
    """The hand at `place`, its fingers across the way `onward`, the palm leaning forward."""
    return Hold(np.array([*place[:2], height]), float(np.arctan2(-onward[1], -onward[0])), lean=LEAN_RAD)


def _level_direction(way: np.ndarray) -> np.ndarray:
    return way * LEVEL / max(np.linalg.norm(way * LEVEL), 1e-9)
