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
ASIDE_M, LOW_M = 0.03, 0.02
"""Error across the way, and height above that of pushing, with which a hand that is behind begins to push."""


def push(scene: Scene, goal: Goal) -> Move:
    """Bring `goal.subject` to where `goal` wants it without lifting it."""
    middle = scene.positions[goal.subject]
    away = (spot_of(scene, goal).position - middle) * np.array([1.0, 1.0, 0.0])
    onward = away / max(np.linalg.norm(away), 1e-9)
    behind = np.array([*(middle - BEHIND_M * onward)[:2], scene.bottom(goal.subject) + FINGER_BELOW_M + ABOVE_M])
    hold = Hold(behind - GAP_M * onward, float(np.arctan2(-onward[1], -onward[0])), lean=LEAN_RAD)
    error = scene.hand - behind
    ahead = float(error @ onward)
    aside = float(np.linalg.norm((error - ahead * onward)[:2]))
    if aside < ASIDE_M and -2.0 * GAP_M < ahead < GAP_M and error[2] < LOW_M:
        return Move(behind + (ahead + LEAD_M) * onward, hold.rotation, False)
    return replace(reach(scene, goal.subject, hold), closed=False)
