"""Action sequences that move furniture: a nearly closed hand goes behind a handle or a knob and pushes it along.

The fingers stop before they touch each other: pads pressed together part even two runs of the stock environment that
begin one rounding error apart.

They are made in one scene and played again, blindly, in others, to compare physics where something happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from envs.types import OSC_POSE

GAIN, FASTEST = 4.0, 0.9
"""Commanded displacement over the remaining one, and the greatest component of an action: gentle enough that two
trajectories do not part by rounding."""
BEHIND_M, ABOVE_M, NEAR_M = 0.07, 0.16, 0.012
"""Where the hand comes down behind the handle, from how far above, and how near counts as there."""
CLOSING = 3
"""Actions for which the gripper closes; then it holds, with 10 mm between the pads."""
PATIENCE = 30
"""Actions after which the hand goes on to the next point although it is not there."""


@dataclass(frozen=True)
class Push:
    """One joint of the furniture and how to move it."""

    joint: str
    """End of the joint's name."""
    way: int
    """1 towards greater positions, -1 towards smaller ones."""
    at_mm: tuple[float, float, float]
    """Where to push, in the frame of the joint's body."""
    travel_m: float
    """How far to push along the path."""


def joint_number(model, name: str) -> int:
    """The joint of the furniture whose name ends in `name`; raises `KeyError` unless there is exactly one."""
    found = [j for j in range(model.njnt) if model.joint(j).name.endswith(name)]
    if len(found) != 1:
        raise KeyError(f"{len(found)} joints end in {name!r}, wanted is one")
    return found[0]


def pushing(scene, push: Push, count: int) -> np.ndarray:
    """float64[count, 7]: the actions of a push from the present state of `scene`, which is advanced by them."""
    moves, points = [], _points(scene, push)
    target, patience = next(points), PATIENCE
    while len(moves) < count:
        hand = scene.data.site_xpos[scene.facts.hand_site]
        if np.linalg.norm(target - hand) < NEAR_M or not patience:
            target, patience = next(points), PATIENCE
        gap, patience = target - hand, patience - 1
        step = np.clip(GAIN * gap / OSC_POSE.translation_m, -FASTEST, FASTEST)
        moves.append(np.array([*step, 0.0, 0.0, 0.0, float(len(moves) < CLOSING)]))
        scene.advance(moves[-1])
    return np.array(moves)


def _points(scene, push: Push) -> Iterator[np.ndarray]:
    """Above, down, along the path, up again; then there for ever."""
    along = _path(scene, push)
    up = np.array([0.0, 0.0, ABOVE_M])
    yield along(-BEHIND_M) + up
    yield along(-BEHIND_M)
    for distance in np.arange(-BEHIND_M + 0.03, push.travel_m, 0.03):
        yield along(distance)
    while True:
        yield along(push.travel_m) + up


def _path(scene, push: Push):
    """Metres along the path of the pushed point -> its place in the world."""
    model, data, number = scene.model, scene.data, joint_number(scene.model, push.joint)
    body, axis, anchor = model.jnt_bodyid[number], data.xaxis[number].copy(), data.xanchor[number].copy()
    start = data.xpos[body] + data.xmat[body].reshape(3, 3) @ (np.array(push.at_mm) / 1e3)
    if model.jnt_type[number] == 2:  # a slide
        return lambda distance: start + push.way * distance * axis
    arm = start - anchor
    out = arm - (arm @ axis) * axis
    radius = np.linalg.norm(out)

    def turned(distance: float) -> np.ndarray:
        angle = push.way * distance / radius
        return start + (np.cos(angle) - 1.0) * out + np.sin(angle) * np.cross(axis, out)

    return turned
