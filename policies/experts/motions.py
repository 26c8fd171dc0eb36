"""Which motion does which goal, and in which order goals are worked on: the one table of the experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from policies.experts.doors import close_door, open_door
from policies.experts.drawers import close_drawer, front, handle, open_drawer, widen_drawer
from policies.experts.knobs import turn_off, turn_on
from policies.experts.levers import WANTED, lever, sort_of
from policies.experts.place import transport
from policies.experts.push import push
from policies.experts.scene import Goal, Move, Scene, kind
from policies.experts.shelve import shelve
from policies.experts.spots import joint_of, owner_of, spot_of

Motion = Callable[[Scene, Goal], Move]

MOTIONS: Mapping[str, Motion] = {
    "on": transport, "in": transport, "open": open_drawer, "close": close_drawer, "turnon": turn_on,
    "turnoff": turn_off, "widen": widen_drawer,
}
"""Predicate -> motion; "widen" is ours, of a drawer that is open but not all the way."""
DOOR_MOTIONS: Mapping[str, Motion] = {"open": open_door, "close": close_door}
"""The same for a joint that is not a drawer's."""
WIDE_OPEN_M, AJAR_M = -0.15, -0.12
"""Position of a drawer up to which it is pulled; and from which on it counts as open."""
WIDE_BELOW_M, AJAR_BELOW_M = -0.158, -0.153
"""The same for a drawer below others, whose handles leave just enough room for a bowl when it is open all the way."""
PUSHED = ("plate",)
"""Categories that are pushed along the table."""


def current(scene: Scene) -> Goal:
    """The goal to work on: the first that does not hold, or whose object the hand has not let go of yet; what is to be
    closed comes last, and a drawer that something goes into is opened before."""
    for goal in sorted(scene.goals, key=lambda goal: goal.predicate == "close"):
        held = scene.grasped.get(goal.subject, False)
        if not goal.holds or held:
            return goal if held or goal.predicate != "in" else _opened(scene, goal) or goal
    return scene.goals[-1]


def _opened(scene: Scene, goal: Goal) -> Goal | None:
    """The goal of opening the drawer that `goal` puts something into, None if it is open enough or no drawer."""
    joint = joint_of(goal.target)
    if joint not in scene.joints:
        return None
    cabinet, at = owner_of(scene, goal.target), scene.joints[joint]
    opening, widening = (Goal(predicate, cabinet, goal.target, joint, False) for predicate in ("open", "widen"))
    bar, _ = handle(scene, opening)
    # A hand on the handle pulls all the way; one that has left comes back only for a drawer that is too far in.
    if at > (WIDE_OPEN_M if _near(scene, bar) else AJAR_M):
        return opening
    below = not goal.target.endswith("top_region")
    return widening if below and at > (WIDE_BELOW_M if _near(scene, front(scene, widening)) else AJAR_BELOW_M) else None


def _near(scene: Scene, point: np.ndarray) -> bool:
    return bool(np.linalg.norm(scene.hand - point) < 0.04)


def motion_of(goal: Goal) -> Motion:
    """The motion that brings `goal` about."""
    if kind(goal.subject) in PUSHED:
        return push
    if goal.target.endswith("_heating_region"):
        return shelve
    if goal.predicate in DOOR_MOTIONS and not goal.target:
        return DOOR_MOTIONS[goal.predicate]
    return MOTIONS[goal.predicate]


def destination(scene: Scene, goal: Goal) -> tuple[np.ndarray, np.ndarray, bool]:
    """What is worked on, where it should go (both float64[3]), and whether it is held; for a joint the point at which
    it is moved, now and when it is where the goal wants it."""
    if goal.joint:
        wanted = WANTED[sort_of(goal), goal.predicate]
        return lever(scene, goal, scene.joints[goal.joint]), lever(scene, goal, wanted), False
    return scene.positions[goal.subject], spot_of(scene, goal).position, scene.grasped[goal.subject]
