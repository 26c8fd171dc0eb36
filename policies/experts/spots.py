"""Where an object should be let go for a goal to hold: heights and offsets by target, measured on the pack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policies.experts.grasps import FINGER_BELOW_M
from policies.experts.scene import Goal, Scene, joined, kind

TABLES: Mapping[str, float] = {"main_table": 0.005, "kitchen_table": 0.025, "living_room_table": 0.0268,
                               "study_table": 0.0181, "floor": -0.02}
"""Workspace -> height of its surface above the sites of its regions."""
FIXED: Mapping[str, tuple[float, float, float]] = {"wine_rack_1_top_region": (0.0, -0.05, 0.233)}
"""Region -> where the bottom of an object touches it first, in the frame of what it belongs to."""
EDGEWISE: Mapping[str, int] = {"black_book": 0, "yellow_book": 0}
"""Category -> the axis of it that is thin and that must lie along x of a caddy."""
CADDY_M = 0.06
"""Height of an object's bottom above the ground at which it is let go in a caddy."""
APART_M: Mapping[str, float] = {"in": 0.03, "on": 0.045}
"""Predicate -> distance of each of two objects from the middle of a region that both go to."""
OUT_M = 0.010
"""Distance from the middle of the upper drawer, towards its front, at which an object is let go."""
FRONT_M, HANDLE_ABOVE_M = 0.0761, 0.1206
"""Distance from the middle of a drawer to the inner face of its front; and, of a drawer that is closed, to the outer
face of the handle above it."""
ROOM_M, INSIDE = 0.11, 0.6
"""Distance from other objects that a hand needs, and which share of the half size of a region of the table it may be
off its middle to get it."""
DROP_M = 0.004
"""Height above its support at which an object is let go."""


@dataclass(frozen=True)
class Spot:
    """Where to let go."""

    position: np.ndarray
    """float64[3]: of the object's origin."""
    drop_m: float = DROP_M
    """How far it will fall."""
    turn: float = 0.0
    """rad: by how much the object still has to be turned about the vertical."""
    within_m: float = 0.03
    """Horizontal distance from the spot at which it counts as arrived."""


def spot_of(scene: Scene, goal: Goal) -> Spot:
    """The spot of an "on" or "in" goal."""
    name, target = goal.subject, goal.target
    owner = owner_of(scene, target)
    point = scene.positions[target].copy()
    above_bottom = scene.positions[name][2] - scene.bottom(name)
    if owner is not None and kind(owner) == "desk_caddy":
        point[2] = scene.positions[owner][2] + CADDY_M + above_bottom
        return Spot(point, drop_m=0.1, turn=_edgewise(scene, name, owner))
    if owner is not None and target.endswith("contain_region"):
        return _into(scene, goal, owner, point)
    if target in FIXED:
        point = scene.positions[owner] + scene.rotations[owner] @ FIXED[target]
        surface = point[2]
    else:
        surface = table(scene, target) if owner is None else support(scene, owner, point)
    if goal.predicate == "in" and owner is not None and "cabinet" in kind(owner):
        point -= _out(scene, target) * scene.rotations[owner][:, 1]
    point[:2] += _beside(scene, goal) + (_room(scene, goal) if owner is None else 0.0)
    point[2] = surface + above_bottom + DROP_M
    return Spot(point)


def _out(scene: Scene, target: str) -> float:
    """m: how far from the middle of a drawer, towards its front. Below others a bowl just passes between front and the
    handle above."""
    if target.endswith("top_region"):
        return OUT_M
    return (FRONT_M + HANDLE_ABOVE_M + scene.joints[joint_of(target)]) / 2


def joint_of(target: str) -> str:
    """The joint that a drawer of this region has."""
    return target.removesuffix("_region") + "_level"


def _edgewise(scene: Scene, name: str, owner: str) -> float:
    """rad in [-pi/2, pi/2): turn that lays the thin axis of a book along x of its caddy."""
    if kind(name) not in EDGEWISE:
        return 0.0
    thin, along = scene.rotations[name][:, EDGEWISE[kind(name)]], scene.rotations[owner][:, 0]
    turn = np.arctan2(along[1], along[0]) - np.arctan2(thin[1], thin[0])
    return float((turn + np.pi / 2) % np.pi - np.pi / 2)


def _beside(scene: Scene, goal: Goal) -> np.ndarray:
    """float64[2]: shift from the middle of a region that two objects of the task share."""
    goals = [other for other in scene.goals if other.target == goal.target]
    if len(goals) < 2:
        return np.zeros(2)
    aside = APART_M[goal.predicate]
    return scene.rotations[goal.target][:2, 0] * (aside if goals[0] == goal else -aside)


def _room(scene: Scene, goal: Goal) -> np.ndarray:
    """float64[2]: shift from the middle of a region of the table to where the hand has more room, where it needs it."""
    axes, half = scene.rotations[goal.target][:2, :2], scene.half_sizes[goal.target][:2]
    shifts = (np.array([[i, j] for i in (0, -1, 1) for j in (0, -1, 1)]) * INSIDE * half) @ axes.T
    points = scene.positions[goal.target][:2] + shifts
    low, high = joined(parts for name, parts in scene.parts.items()
                       if name in scene.grasped and name != goal.subject).corners()[..., :2].swapaxes(0, 1)
    away = np.linalg.norm(np.maximum(np.maximum(low - points[:, None], points[:, None] - high), 0.0), axis=2)
    room = np.minimum(away.min(axis=1, initial=ROOM_M), ROOM_M) - 0.2 * np.linalg.norm(shifts, axis=1)
    return shifts[np.argmax(room)]


def owner_of(scene: Scene, target: str) -> str | None:
    """The instance that a target is or belongs to; None for a region of the table."""
    return max((name for name in scene.parts if target == name or target.startswith(name + "_")), key=len, default=None)


def support(scene: Scene, owner: str, point: np.ndarray) -> float:
    """Height of the highest part of `owner` that is above or below `point`."""
    low, high = scene.parts[owner].corners().swapaxes(0, 1)
    covers = ((point[:2] >= low[:, :2]) & (point[:2] <= high[:, :2])).all(axis=1)
    return float(high[covers, 2].max(initial=point[2]))


def table(scene: Scene, target: str) -> float:
    """Height of the surface that a region of the table is on."""
    return scene.positions[target][2] + next(above for table, above in TABLES.items() if target.startswith(table))


def _into(scene: Scene, goal: Goal, owner: str, point: np.ndarray) -> Spot:
    """Over the rim, with the finger tips above it; beside where another object of the task goes or lies."""
    hand_above = scene.hand[2] - scene.positions[goal.subject][2] if scene.grasped[goal.subject] else 0.0
    point[:2] += _beside(scene, goal)
    point[2] = scene.top(owner) + FINGER_BELOW_M + 0.01 - hand_above
    return Spot(point, drop_m=0.15, within_m=0.06)
