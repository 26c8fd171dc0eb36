"""Take an object and put it where a goal wants it, by the present state alone.

Not held: come over the grasp, go down, close. Held: rise above everything on the way, come over the spot, go down,
open. Heights follow from horizontal errors, so that the hand moves on slopes and never pauses over a point.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from policies.experts.drive import leaning, overreach, turned, yawed
from policies.experts.grasps import (
    FINGER_BELOW_M,
    GRASPS,
    LEANS_RAD,
    Hold,
    Rim,
    best_hold,
    turn_between,
)
from policies.experts.scene import Goal, Move, Scene, kind
from policies.experts.spots import Spot, spot_of
from policies.experts.under import PALM_ABOVE_M, PALM_HALF_M, PALM_REACH_M, way_out

ALIGNED_M = 0.008
"""Horizontal error below which the hand goes straight down."""
FUNNEL_M = 0.022
"""Horizontal error, beyond that, at which the hand is at full height again."""
TURN_M = 0.03
"""Horizontal error that a turn of the hand by 1 rad is worth."""
CLOSE_M = 0.008
"""Height above the grasp or the spot at which the gripper acts."""
CLOSING_M, STAY = (0.02, 0.07), 2.5
"""Opening of fingers that are closing, and how many times as far from the grasp the hand may then be."""
EMPTY_M = 0.007
"""Opening of fingers that have closed on nothing."""
RISE_M, LIFT_M = 0.03, 0.01
"""How steeply the empty hand rises, and the one that lifts something, which would tip it by going aside at once."""
LOOSEN_M = 0.003
"""How far ahead a hand is sent that has closed on something and does not hold it yet."""
LEAD_M = 0.02
"""How far ahead on a slanted way down the hand is sent."""
UP = np.array([0.0, 0.0, 1.0])
MARGIN_M = 0.02
"""Clearance above what is passed over."""
MOST_YAW_RAD = 1.7
"""Turn of the hand about the vertical that the last joint of the arm allows."""
FAR_M = 0.10
"""Distance from the spot beyond which an object is not lifted against furniture; near it, some may well be above."""
WIDE_M, BESIDE_M = 0.085, 0.015
"""How near to the hand's way things count as being on it, and how near to the way of the palm."""


def transport(scene: Scene, goal: Goal) -> Move:
    """Bring `goal.subject` to where `goal` wants it."""
    spot = spot_of(scene, goal)
    if scene.grasped[goal.subject]:
        far = np.linalg.norm((scene.positions[goal.subject] - spot.position)[:2]) > FAR_M
        out = way_out(scene, goal.subject) if far else None
        return _carry(scene, goal.subject, spot) if out is None else Move(scene.hand + out, level(scene), True)
    if _falling(scene, goal.subject, spot):
        return Move(scene.hand + np.array([0.0, 0.0, MARGIN_M]), level(scene), False)
    return reach(scene, goal.subject, best_hold(scene, goal.subject, spot.position))


def _falling(scene: Scene, name: str, spot: Spot) -> bool:
    """Let go over its spot, and not yet arrived."""
    away = scene.positions[name] - spot.position
    return np.linalg.norm(away[:2]) < spot.within_m and 0.0 < away[2] + spot.drop_m - 0.003 < spot.drop_m + 0.02


def reach(scene: Scene, name: str, hold: Hold) -> Move:
    """Take `name` by `hold`."""
    turn = turn_between(scene.hand_rotation, hold.rotation)
    # A hand that leans comes along its own axis, so that it gets in below what stands out.
    axis = hold.rotation[:, 2] / hold.rotation[2, 2]
    over = hold.position + axis * (scene.hand[2] - hold.position[2])
    error = np.linalg.norm(scene.hand[:2] - over[:2]) + TURN_M * turn
    top = max(scene.top(name), clearance(scene, hold.position, ()))
    hover = top + FINGER_BELOW_M + MARGIN_M - hold.position[2]
    low = scene.hand[2] - hold.position[2]
    if scene.opening_m < EMPTY_M and error < 3.0 * ALIGNED_M:
        return Move(scene.hand + MARGIN_M * UP, hold.rotation, False)
    # Fingers that close push the hand about; it stays all the same.
    slack = STAY if CLOSING_M[0] < scene.opening_m < CLOSING_M[1] else 1.0
    there = low < slack * CLOSE_M and error < (1.0 + slack) * ALIGNED_M
    share = 0.0 if there else np.clip((error - ALIGNED_M) / FUNNEL_M, 0.0, 1.0)
    closed = share == 0.0 and low < slack * CLOSE_M
    if closed and scene.opening_m < CLOSING_M[0] and isinstance(GRASPS[kind(name)], Rim):
        # Closed on a wall, and not yet held: a tilted vessel is jammed between a finger and what it stands in.
        return Move(scene.hand + LOOSEN_M * UP, hold.rotation, True)
    position = _sloped(scene.hand, hold.position, share * hover, axis, RISE_M)
    return Move(position, hold.rotation, closed)


def _carry(scene: Scene, name: str, spot: Spot) -> Move:
    turn = spot.turn or _nearer(scene, name, spot)
    about = yawed(turn)
    target = spot.position + about @ (scene.hand - scene.positions[name])
    error = np.linalg.norm(scene.hand[:2] - target[:2]) + TURN_M * abs(turn)
    hangs = scene.hand[2] - min(scene.bottom(name), scene.hand[2] - FINGER_BELOW_M)
    rise = max(clearance(scene, target, (name,)) + hangs + MARGIN_M - target[2], 0.0)
    arrived = error < 2.0 * ALIGNED_M and scene.hand[2] - target[2] < max(CLOSE_M, spot.drop_m / 5.0)
    share = 0.0 if arrived else np.clip((error - ALIGNED_M) / FUNNEL_M, 0.0, 1.0)
    return Move(_sloped(scene.hand, target, share * rise, UP, LIFT_M), about @ level(scene), not arrived)


def _nearer(scene: Scene, name: str, spot: Spot) -> float:
    """rad: the least turn of a round object about the vertical that brings the hand into reach over the spot."""
    if not isinstance(GRASPS[kind(name)], Rim):
        return 0.0
    hand, offset, along = level(scene), scene.hand - scene.positions[name], scene.hand_rotation[:, 1]
    yaw = np.arctan2(along[0], -along[1])

    def cost(turn: float) -> float:
        about = yawed(turn)
        far = overreach(scene.base, spot.position + about @ offset, about @ hand)
        twisted = abs(yaw + turn) - MOST_YAW_RAD
        return 5.0 * max(0.0, far) + max(0.0, twisted) + 0.01 * abs(turn)

    return float(min(np.radians(np.arange(-90, 91, 10)), key=cost))


def _sloped(hand: np.ndarray, target: np.ndarray, above: float, axis: np.ndarray, steep_m: float) -> np.ndarray:
    """`target` raised by `above` along `axis` (1 high); a hand that is lower than that by 1.5 times `steep_m` goes
    straight up."""
    if axis[0] or axis[1]:
        # Down a slanted axis step by step: the controller cuts off each coordinate by itself, which bends long ways.
        above = max(above, hand[2] - target[2] - LEAD_M)
    wanted = target + axis * above
    ready = np.clip(1.5 - (wanted[2] - hand[2]) / steep_m, 0.0, 1.0) if above > 0.0 else 1.0
    return np.array([*(hand[:2] + ready * (wanted[:2] - hand[:2])), wanted[2]])


def clearance(scene: Scene, target: np.ndarray, without: Iterable[str]) -> float:
    """Height to pass with the finger tips, without a margin, above all things apart from those named that are near the
    straight way from the hand to `target`; beside the fingers the palm passes over, which is higher."""
    way = scene.hand[:2] + np.linspace(0.0, 1.0, 12)[:, None] * (target[:2] - scene.hand[:2])
    x, along, _ = abs(scene.hand_rotation.T[..., :2])
    palm = along * PALM_REACH_M + x * PALM_HALF_M + BESIDE_M
    height = -np.inf
    for name, parts in scene.parts.items():
        if name in without:
            continue
        low, high = parts.corners().swapaxes(0, 1)
        for wide, below in ((WIDE_M, 0.0), (palm, PALM_ABOVE_M)):
            near = (way[:, None] > low[:, :2] - wide) & (way[:, None] < high[:, :2] + wide)
            height = max(height, high[near.all(axis=2).any(axis=0), 2].max(initial=-np.inf) - below)
    return float(height)


def level(scene: Scene) -> np.ndarray:
    """float64[3, 3]: the present yaw of the hand with its fingers level, leaning by what it is nearest to."""
    x, along, _ = scene.hand_rotation.T
    upright = turned(float(np.arctan2(along[0], -along[1])))
    lean = np.arctan2(x[2], x @ upright[:, 0])
    return upright @ leaning(min(LEANS_RAD, key=lambda allowed: abs(allowed - lean)))
