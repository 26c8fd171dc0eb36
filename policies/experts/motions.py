"""Which motion does which goal, and in which order goals are worked on: the one table of the experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from policies.experts.drawers import close_drawer, open_drawer
from policies.experts.knobs import turn_off, turn_on
from policies.experts.place import slide, transport
from policies.experts.scene import Goal, Move, Scene, kind
from policies.experts.spots import spot_of

Motion = Callable[[Scene, Goal], Move]

MOTIONS: Mapping[str, Motion] = {
    "on": transport, "in": transport, "open": open_drawer, "close": close_drawer, "turnon": turn_on,
    "turnoff": turn_off,
}
"""Predicate -> motion."""
SLID = ("plate",)
"""Categories that are pushed along the table."""


def current(scene: Scene) -> Goal:
    """The goal to work on: the first that does not hold, or whose object the hand has not let go of yet."""
    for goal in scene.goals:
        if not goal.holds or scene.grasped.get(goal.subject, False):
            return goal
    return scene.goals[-1]


def motion_of(goal: Goal) -> Motion:
    """The motion that brings `goal` about."""
    if kind(goal.subject) in SLID:
        return slide
    return MOTIONS[goal.predicate]


def destination(scene: Scene, goal: Goal) -> tuple[np.ndarray, np.ndarray, bool]:
    """What is worked on, where it should go (both float64[3]), and whether it is held."""
    if goal.joint:
        return scene.positions[goal.subject], scene.positions[goal.subject], False
    return scene.positions[goal.subject], spot_of(scene, goal).position, scene.grasped[goal.subject]
