"""Open and close the drawers of cabinets, by the present state alone.

A drawer is opened by its handle, a bar: the hand comes from the front with one finger above and one below the bar,
closes, and pulls. It is closed with the closed fingers pushing against the bar. One that is open, but not all the way,
is pushed further from inside: a hand that points sideways would not fit between a low bar and the table.
"""

from __future__ import annotations

import numpy as np

from policies.experts.approach import angle, approach, pitched, pitched_flat
from policies.experts.scene import Goal, Move, Scene
from policies.experts.spots import FRONT_M

BAR = np.array([-0.0058, -0.1129, -0.0013])
"""The middle of the bar relative to the drawer's region, m, in the cabinet's frame, whose -y is out of the front."""
GRASP_PITCH_RAD, PUSH_PITCH_RAD = 1.5, 0.65
"""How far the hand is turned from pointing down to pointing into the cabinet."""
DEEP_M = 0.008
"""How much deeper the fingers go while they close, so that their tips hook behind the bar."""
HELD_M = 0.0235
"""Opening of the fingers at which they hold the bar."""
PULL_M = 0.10
"""How far ahead of the hand the goal is while it pulls or pushes."""
BACK_M = 0.09
"""Distance from which the open hand comes straight to the bar."""
SLACK_M = 0.018
"""Error across the bar, of the open fingers around it, that needs no correction."""

FINGER_M = 0.014
"""From the inner face of a drawer's front to the middle of a finger beside it."""


def handle(scene: Scene, goal: Goal) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the bar of the drawer with region `goal.target`, and the direction in which the drawer opens."""
    cabinet = scene.rotations[goal.subject]
    return scene.positions[goal.target] + cabinet @ BAR, -cabinet[:, 1]


def open_drawer(scene: Scene, goal: Goal) -> Move:
    """Take the bar and pull."""
    bar, out = handle(scene, goal)
    rotation = pitched(-out, GRASP_PITCH_RAD)
    forth = rotation[:, 2]
    sideways, across, along = rotation.T @ (scene.hand - bar)
    turn = angle(rotation, scene.hand_rotation)
    if abs(across) < 0.03 and abs(sideways) < 0.035 and -0.014 < along < 0.025 and turn < 0.4:
        deeper = DEEP_M * np.clip((0.07 - scene.opening_m) / 0.04, 0.0, 1.0) * forth
        pull = PULL_M * out if scene.opening_m < HELD_M else 0.0
        return Move(bar + pull + deeper, rotation, True)
    off = max(abs(across) - SLACK_M, abs(sideways) - 0.03, along - 0.025, 0.06 * (turn - 0.25), 0.0)
    place = bar - min(4.0 * off, BACK_M) * forth
    if 4.0 * off < BACK_M:
        return Move(place, rotation, False)
    # Turned only near the cabinet: a hand that points sideways is 20 cm high, and sweeps over the table.
    far = np.linalg.norm((scene.hand - place)[:2])
    rotation = pitched(-out, GRASP_PITCH_RAD * np.clip((0.30 - far) / 0.12, 0.0, 1.0))
    return approach(scene, place, rotation, False, goal.subject, bool((scene.hand - bar) @ out < 0.0))


def front(scene: Scene, goal: Goal) -> np.ndarray:
    """float64[3]: where the finger tips are that push the front of the drawer `goal.target` from inside."""
    return scene.positions[goal.target] + (FINGER_M - FRONT_M) * scene.rotations[goal.subject][:, 1]


def widen_drawer(scene: Scene, goal: Goal) -> Move:
    """Push the front from inside with closed fingers, the palm across the drawer, below the handles above."""
    out = -scene.rotations[goal.subject][:, 1]
    rotation, place = pitched_flat(-out, 0.0), front(scene, goal)
    away = scene.hand - place
    ahead = float(away @ out)
    beside = np.linalg.norm(away - ahead * out)
    if beside < 0.025 and abs(ahead) < 0.04 and angle(rotation, scene.hand_rotation) < 0.4:
        return Move(place + PULL_M * out, rotation, True)
    return approach(scene, place - 0.012 * out, rotation, True, goal.subject)


def close_drawer(scene: Scene, goal: Goal) -> Move:
    """Push against the bar with closed fingers."""
    bar, out = handle(scene, goal)
    rotation = pitched_flat(-out, PUSH_PITCH_RAD)
    start = bar + 0.02 * out - 0.008 * rotation[:, 2]
    away = scene.hand - start
    ahead = float(away @ out)
    off = max(np.linalg.norm(away - ahead * out) - 0.012, 0.06 * (angle(rotation, scene.hand_rotation) - 0.3), 0.0)
    behind = ahead < -0.02 and off > 0.0
    back = 0.06 if behind else min(4.0 * off, 0.06)
    if back == 0.0:
        return Move(start - 0.7 * PULL_M * out, rotation, True)
    if back < 0.06:
        return Move(start + back * out, rotation, True)
    return approach(scene, start + back * out, rotation, True, goal.subject, behind)
