"""Open and close the door of a microwave, by the present state alone.

The door is closed by the side of the hand, which lies flat against it and turns with it. It is opened by its handle, an
upright bar whose top the fingers take from above, one of them between bar and door.
"""

from __future__ import annotations

import numpy as np

from policies.experts.approach import angle, approach
from policies.experts.drive import turned
from policies.experts.knobs import nearest
from policies.experts.scene import Goal, Move, Scene

HINGE_M = np.array([-0.1725, -0.088, 0.096])
"""The hinge in the frame of the microwave, which opens towards -y."""
PUSH_M, GAP_M, OFF_M = 0.125, 0.060, 0.04
"""Closing: distance from the hinge at which the hand pushes, of the middle of the touching hand from the door's middle
plane, and how much further away it comes down."""
PUSH_HEIGHT_M = 0.105
"""Height of the point between the finger tips over the microwave's origin while the hand pushes; the palm is higher."""
LEAD_RAD, PULL_RAD = 0.3, 0.3
"""How far ahead of the door the goal of the hand is that pushes, and of the one that pulls."""
BAR_M = np.array([0.2375, -0.054, 0.0695])
"""Where the bar is taken, in the door's frame: its top is 75 mm high, and the palm just clears the top of the door."""
BEHIND_M = 0.015
"""From the middle of the bar to the near face of the finger behind it, in the middle of the gap."""
HELD_M = 0.024
"""Opening of the fingers at which they hold the bar."""
BACK_M = 0.06
"""Height over the bar from which the open fingers come straight down."""


def door_frame(scene: Scene, goal: Goal, at: float) -> tuple[np.ndarray, np.ndarray]:
    """The hinge, and the rotation of the door's frame (x along the door, -y out of its face) if it stood at `at`."""
    oven = scene.rotations[goal.subject]
    c, s = np.cos(at), np.sin(at)
    return (scene.positions[goal.subject] + oven @ HINGE_M,
            oven @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]))


def _along(door: np.ndarray) -> np.ndarray:
    """Rotation of a hand that points down and lies along the door, not turned further than the wrist can follow while
    the door shuts: of the two ways round, the one between -0.9 and 2.2 rad."""
    yaw = np.arctan2(door[1, 0], door[0, 0]) + np.pi / 2
    return turned(float((yaw + 0.9) % np.pi - 0.9))


def _across(scene: Scene, door: np.ndarray) -> np.ndarray:
    """Rotation of a hand that points down and opens its fingers across the door."""
    return nearest(scene, turned(float(np.arctan2(door[1, 1], door[0, 1])) - np.pi / 2))


def close_door(scene: Scene, goal: Goal) -> Move:
    """Push the outer face until the door is shut."""
    at = scene.joints[goal.joint]
    hinge, door = door_frame(scene, goal, at)
    height = scene.positions[goal.subject][2] + PUSH_HEIGHT_M
    along, outward, _ = door.T @ (scene.hand - hinge) * np.array([1.0, -1.0, 1.0])
    rotation = _along(door)
    outside = outward > 0.02 and scene.hand[2] < height + 0.03
    if outside and abs(along - PUSH_M) < 0.07 and angle(rotation, scene.hand_rotation) < 0.8:
        _, ahead = door_frame(scene, goal, at + LEAD_RAD)
        return Move(_at(hinge + ahead @ np.array([PUSH_M, -GAP_M + 0.01, 0.0]), height), _along(ahead), False)
    place = _at(hinge + door @ np.array([PUSH_M, -GAP_M - OFF_M, 0.0]), height)
    return approach(scene, place, rotation, False, goal.subject, bool(outward < 0.02))


def open_door(scene: Scene, goal: Goal) -> Move:
    """Take the bar and pull it around the hinge."""
    at = scene.joints[goal.joint]
    hinge, door = door_frame(scene, goal, at)
    # The gap behind the bar is narrower than the fingers are apart: they stand off by as much as they are open.
    stand = BAR_M - np.array([0.0, max(scene.opening_m / 2.0 - BEHIND_M, 0.0), 0.0])
    bar = hinge + door @ stand
    rotation = _across(scene, door)
    aside, across, above = door.T @ (scene.hand - bar)
    turn = angle(rotation, scene.hand_rotation)
    loose = 2.0 if scene.opening_m < HELD_M else 1.0
    if max(abs(aside) / 0.014, abs(across) / 0.02) < loose and -0.03 < above < 0.006 * loose and turn < 0.5 * loose:
        if scene.opening_m > HELD_M:
            return Move(bar, rotation, True)
        _, ahead = door_frame(scene, goal, at - PULL_RAD)
        return Move(hinge + ahead @ stand, _across(scene, ahead), True)
    off = max(abs(aside) - 0.008, abs(across) - 0.004, 0.06 * (turn - 0.25), 0.0)
    place = bar + np.array([0.0, 0.0, min(5.0 * off, BACK_M)])
    if 5.0 * off < BACK_M:
        return Move(place, rotation, False)
    return approach(scene, place, rotation, False, goal.subject)


def _at(point: np.ndarray, height: float) -> np.ndarray:
    return np.array([point[0], point[1], height])
