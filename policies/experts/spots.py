"""Where an object should be let go for a goal to hold: heights and offsets by target, measured on the pack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policies.experts.grasps import FINGER_BELOW_M
from policies.experts.scene import Goal, Scene

TABLES: Mapping[str, float] = {"main_table": 0.005, "kitchen_table": 0.025, "living_room_table": 0.0268,
                               "study_table": 0.0181, "floor": -0.02}
"""Workspace -> height of its surface above the sites of its regions."""
DROP_M = 0.004
"""Height above its support at which an object is let go."""


@dataclass(frozen=True)
class Spot:
    """Where to let go."""

    position: np.ndarray
    """float64[3]: of the object's origin."""
    drop_m: float = DROP_M
    """How far it will fall."""
    within_m: float = 0.03
    """Horizontal distance from the spot at which it counts as arrived."""


def spot_of(scene: Scene, goal: Goal) -> Spot:
    """The spot of an "on" or "in" goal."""
    name, target = goal.subject, goal.target
    owner = owner_of(scene, target)
    point = scene.positions[target].copy()
    above_bottom = scene.positions[name][2] - scene.bottom(name)
    if owner is not None and target.endswith("contain_region"):
        return _into(scene, goal, owner, point)
    surface = _table(target, point) if owner is None else support(scene, owner, point)
    point[2] = surface + above_bottom + DROP_M
    return Spot(point)


def owner_of(scene: Scene, target: str) -> str | None:
    """The instance that a target is or belongs to; None for a region of the table."""
    return max((name for name in scene.parts if target == name or target.startswith(name + "_")), key=len, default=None)


def support(scene: Scene, owner: str, point: np.ndarray) -> float:
    """Height of the highest part of `owner` that is above or below `point`."""
    low, high = scene.parts[owner].corners().swapaxes(0, 1)
    covers = ((point[:2] >= low[:, :2]) & (point[:2] <= high[:, :2])).all(axis=1)
    return float(high[covers, 2].max(initial=point[2]))


def _table(target: str, point: np.ndarray) -> float:
    return point[2] + next(above for table, above in TABLES.items() if target.startswith(table))


def _into(scene: Scene, goal: Goal, owner: str, point: np.ndarray) -> Spot:
    """Over the rim, with the finger tips above it; beside where another object of the task goes or lies."""
    goals = [other for other in scene.goals if other.target == goal.target]
    hand_above = scene.hand[2] - scene.positions[goal.subject][2] if scene.grasped[goal.subject] else 0.0
    if len(goals) > 1:
        point += scene.rotations[owner][:, 0] * (0.03 if goals[0] == goal else -0.03)
    point[2] = scene.top(owner) + FINGER_BELOW_M + 0.01 - hand_above
    return Spot(point, drop_m=0.15, within_m=0.06)
