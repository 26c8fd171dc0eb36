"""The point at which furniture is moved - a bar, the end of a fin - for any position of its joint."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from policies.experts.doors import BAR_M, door_frame
from policies.experts.drawers import handle
from policies.experts.knobs import ARM_M, PUSH_HEIGHT_M
from policies.experts.scene import Goal, Scene, kind

WANTED: Mapping[tuple[str, str], float] = {
    ("drawer", "open"): -0.15, ("drawer", "widen"): -0.16, ("drawer", "close"): 0.005,
    ("knob", "turnon"): 0.7, ("knob", "turnoff"): -0.005,
    ("door", "open"): -1.4, ("door", "close"): 0.0,
}
"""What the joint belongs to and the predicate -> where the joint should be (m or rad)."""


def sort_of(goal: Goal) -> str:
    """"drawer", "knob" or "door"."""
    if goal.target:
        return "drawer"
    return "door" if kind(goal.subject) == "microwave" else "knob"


def lever(scene: Scene, goal: Goal, at: float) -> np.ndarray:
    """float64[3]: where the point is taken if the joint of `goal` stands at `at`."""
    sort = sort_of(goal)
    if sort == "drawer":
        bar, out = handle(scene, goal)
        return bar + (scene.joints[goal.joint] - at) * out
    if sort == "door":
        hinge, door = door_frame(scene, goal, at)
        return hinge + door @ BAR_M
    fixture = scene.rotations[goal.subject]
    return scene.positions[goal.subject] + fixture @ np.array([ARM_M * np.cos(at), ARM_M * np.sin(at), PUSH_HEIGHT_M])
