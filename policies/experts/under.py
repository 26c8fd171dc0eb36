"""The way out from under furniture: an open drawer may hang over what the hand has just taken."""

from __future__ import annotations

import numpy as np

from policies.experts.scene import Parts, Scene

PALM_REACH_M, PALM_HALF_M = 0.105, 0.033
"""The palm: half of its length (along the fingers' axis) and half of its thickness."""
PALM_ABOVE_M = 0.03
"""Height of the palm above the point between the finger tips."""
OVERHEAD_M = 0.25
"""Height above the object within which something over it is in the way."""
MARGIN_M, BEYOND_M = 0.003, 0.03
"""Horizontal clearance that is enough, and how much further the goal of the hand is; a short way alone would not
overcome the friction under the object."""
LIFT_M = 0.008
"""How much higher the hand is wanted meanwhile, to take weight off the table."""
SLACK_M = 0.005
"""Overlap in height that does not count as being over the object."""


def way_out(scene: Scene, name: str) -> np.ndarray | None:
    """float64[3]: beyond the shortest shift that brings the held object `name` and the palm from under furniture;
    None if nothing is over them."""
    corners = scene.parts[name].corners()
    along = abs(scene.hand_rotation[:2, 1]) * PALM_REACH_M + abs(scene.hand_rotation[:2, 0]) * PALM_HALF_M
    taken = corners[:, 0, :2].min(axis=0), corners[:, 1, :2].max(axis=0), corners[:, 1, 2].max()
    palm = scene.hand[:2] - along, scene.hand[:2] + along, scene.hand[2] + PALM_ABOVE_M
    shifts = []
    for other, parts in scene.parts.items():
        if other in scene.grasped:
            continue
        under, over = parts.corners().swapaxes(0, 1)
        for least, most, top in (taken, palm):
            low, high = least - MARGIN_M, most + MARGIN_M
            covers = (under[:, 2] > top - SLACK_M) & _column(low, high, top).overlaps(parts)[0]
            if covers.any():
                shifts += [(axis, value) for axis in (0, 1) for value in
                           ((under[covers, axis].min() - high[axis]), (over[covers, axis].max() - low[axis]))]
    if not shifts:
        return None
    axis, value = min(shifts, key=lambda shift: abs(shift[1]))
    return np.eye(3)[axis] * (value + np.sign(value) * BEYOND_M) + [0.0, 0.0, LIFT_M]


def _column(low: np.ndarray, high: np.ndarray, top: float) -> Parts:
    """One box: what is above `top` between two corners, float64[2] each."""
    corners = np.array([[*low, top - SLACK_M], [*high, top + OVERHEAD_M]])
    return Parts(corners.mean(axis=0)[None], np.eye(3)[None], (corners[1] - corners[0])[None] / 2)
