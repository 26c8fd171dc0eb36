"""Put a mug into a microwave, by the present state alone.

The cavity is lower than a hand is long, so nothing can be put into it from above. The mug is taken by its handle from
the front, which keeps the hand outside, lifted to the height of the cavity's floor, and moved straight in.
"""

from __future__ import annotations

import numpy as np

from policies.experts.approach import angle, approach, pitched_flat
from policies.experts.scene import Goal, Move, Scene

BAR_M = np.array([0.064, 0.0, 0.058])
"""Where the handle of the white and yellow mug is taken, in the mug's frame."""
INSIDE_M = np.array([-0.002, -0.110, 0.094])
"""Where that point ends, in the frame of the microwave: the mug stands just inside the opening, the hand is outside."""
PITCH_RAD = 0.6
"""How far the hand is turned from pointing down to pointing away from the handle."""
BACK_M = 0.07
"""Distance from which the open hand comes straight to the handle."""
FRONT_M = 0.12
"""Distance before the opening at which the mug is brought to the right height and side."""
SLANT = 0.12
"""How much further from the hinge the hand is for every metre that the mug is still outside."""
ALIGNED_M = 0.012
"""Error below which the mug moves in, and below which it is let go."""


def shelve(scene: Scene, goal: Goal) -> Move:
    """Bring the mug `goal.subject` into the region `goal.target` of a microwave."""
    turn = scene.rotations[goal.subject]
    handle = scene.positions[goal.subject] + turn @ BAR_M
    if scene.grasped[goal.subject]:
        return _insert(scene, goal.target.removesuffix("_heating_region"), handle)
    inward = np.array([-turn[0, 0], -turn[1, 0], 0.0]) / np.linalg.norm(turn[:2, 0])
    rotation = pitched_flat(inward, PITCH_RAD)
    forth = rotation[:, 2]
    aside, across, along = rotation.T[[1, 0, 2]] @ (scene.hand - handle)
    left = angle(rotation, scene.hand_rotation)
    if abs(aside) < 0.022 and abs(across) < 0.015 and -0.010 < along < 0.02 and left < 0.3:
        return Move(handle, rotation, True)
    off = max(abs(aside) - 0.012, abs(across) - 0.010, 0.06 * (left - 0.2), 0.0)
    place = handle - min(4.0 * off, BACK_M) * forth
    if 4.0 * off < BACK_M:
        return Move(place, rotation, False)
    return approach(scene, place, rotation, False, goal.subject)


def _insert(scene: Scene, oven: str, handle: np.ndarray) -> Move:
    frame = scene.rotations[oven]
    inward = frame[:, 1]
    end = scene.positions[oven] + frame @ INSIDE_M
    error = end - handle
    depth = float(error @ inward)
    # A door that is not wide open leans over the way in, so the hand comes from the side away from the hinge.
    error = error + SLANT * np.clip(depth - 0.05, 0.0, 0.25) * frame[:, 0]
    beside = error - depth * inward
    back = np.clip(6.0 * (np.linalg.norm(beside) - ALIGNED_M), 0.0, FRONT_M)
    # From the table straight up first.
    free = np.clip((0.05 - error[2]) / 0.02, 0.0, 1.0) if back > 0.0 else 1.0
    shift = free * (error - back * inward)
    shift[2] = error[2]
    arrived = back == 0.0 and abs(depth) < ALIGNED_M
    return Move(scene.hand + shift, pitched_flat(inward, PITCH_RAD), not arrived)
