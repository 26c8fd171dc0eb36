"""The state of a world as the experts see it, and what their motions answer.

A motion is a function `(Scene, Goal) -> Move` of the present state alone: it can therefore label any state that
another policy visits. Everything is in metres and radians, in the world's frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from envs.types import Observation

DOWN = np.diag([1.0, -1.0, -1.0])
"""Rotation of a hand that points straight down with its fingers opening along the world's y."""


@dataclass(frozen=True)
class Goal:
    """One condition of the task."""

    predicate: str
    """"on", "in", "open", "close", "turnon" or "turnoff"; "widen" only within `policies.experts.motions`."""
    subject: str
    """The object that is to be moved, or the fixture whose joint is."""
    target: str
    """Where to: an instance or a region; the region of a drawer for its joint; "" for a knob or a door."""
    joint: str
    """The joint that is to be moved, "" for an object."""
    holds: bool
    """Whether it is so now."""


@dataclass(frozen=True)
class Parts:
    """Boxes that something solid is made of. Axis letter: G boxes."""

    centres: np.ndarray
    """float64[G, 3]."""
    rotations: np.ndarray
    """float64[G, 3, 3]."""
    halves: np.ndarray
    """float64[G, 3]: half sizes in each box's own frame."""

    def corners(self) -> np.ndarray:
        """float64[G, 2, 3]: least and greatest corner of the upright box about each box."""
        reach = (abs(self.rotations) @ self.halves[..., None])[..., 0]
        return np.stack([self.centres - reach, self.centres + reach], axis=1)

    def moved(self, position: np.ndarray, rotation: np.ndarray) -> Parts:
        """The same boxes, turned and then shifted."""
        return Parts(position + self.centres @ rotation.T, rotation @ self.rotations, self.halves)

    def overlaps(self, others: Parts) -> np.ndarray:
        """bool[G, H]: which of these boxes overlap which of the H others (separating axes of oriented boxes)."""
        turn = np.einsum("gki,hkj->ghij", self.rotations, others.rotations)
        away = np.einsum("ghk,gki->ghi", others.centres - self.centres[:, None], self.rotations)
        size, mine, theirs = abs(turn) + 1e-9, self.halves[:, None], others.halves[None]
        apart = (abs(away) > mine + np.einsum("ghij,ghj->ghi", size, np.broadcast_to(theirs, away.shape))).any(axis=2)
        across = abs(np.einsum("ghi,ghij->ghj", away, turn))
        apart |= (across > theirs + np.einsum("ghij,ghi->ghj", size, np.broadcast_to(mine, away.shape))).any(axis=2)
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            gap = abs(away[..., k, None] * turn[..., j, :] - away[..., j, None] * turn[..., k, :])
            reach = mine[..., j, None] * size[..., k, :] + mine[..., k, None] * size[..., j, :]
            for m in range(3):
                p, q = (m + 1) % 3, (m + 2) % 3
                other = theirs[..., p] * size[..., i, q] + theirs[..., q] * size[..., i, p]
                apart |= gap[..., m] > reach[..., m] + other
        return ~apart

    def near(self, point: np.ndarray, distance: float) -> Parts:
        """Those boxes that may reach into the ball about `point`."""
        gap = np.linalg.norm(self.centres - point, axis=1) - np.linalg.norm(self.halves, axis=1)
        return Parts(*(field[gap < distance] for field in (self.centres, self.rotations, self.halves)))


def joined(many: Iterable[Parts]) -> Parts:
    """All boxes of several things."""
    every = [NO_PARTS, *many]
    fields = zip(*((parts.centres, parts.rotations, parts.halves) for parts in every), strict=True)
    return Parts(*(np.concatenate(field) for field in fields))


NO_PARTS = Parts(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 3)))
"""Nothing."""


@dataclass(frozen=True)
class Scene:
    """One instant of a world."""

    base: np.ndarray
    """float64[3]: the foot of the arm."""
    hand: np.ndarray
    """float64[3]: the point between the finger tips."""
    hand_rotation: np.ndarray
    """float64[3, 3]; columns: the hand's x, the axis along which its fingers open, the direction out of the palm."""
    opening_m: float
    """Distance of the finger pads."""
    elbow_rad: float
    """Position of the arm's fourth joint; the arm is straight at -0.47."""
    positions: Mapping[str, np.ndarray]
    """Object, fixture or region -> float64[3], its origin."""
    rotations: Mapping[str, np.ndarray]
    """The same keys -> float64[3, 3]."""
    half_sizes: Mapping[str, np.ndarray]
    """Region -> float64[3], half size of its box in its own frame."""
    parts: Mapping[str, Parts]
    """Object or fixture -> the boxes that it is made of."""
    joints: Mapping[str, float]
    """Joint of a fixture -> its position (m or rad)."""
    grasped: Mapping[str, bool]
    """Object -> whether both finger pads are at it."""
    goals: tuple[Goal, ...]
    """What makes the task done, in the order of the problem file."""

    def top(self, name: str) -> float:
        """Height of the highest point of an object or a fixture."""
        return float(self.parts[name].corners()[:, 1, 2].max())

    def bottom(self, name: str) -> float:
        """Height of its lowest point."""
        return float(self.parts[name].corners()[:, 0, 2].min())


@dataclass(frozen=True)
class Move:
    """What a motion wants of the hand in one step."""

    position: np.ndarray
    """float64[3]: where the point between the finger tips should go."""
    rotation: np.ndarray | None
    """float64[3, 3]: how the hand should be turned, see `Scene.hand_rotation`; None is `DOWN`."""
    closed: bool
    """Whether the gripper should be closed."""


def scene_of(observation: Observation) -> Scene:
    """The scene in an observation. Raises `ValueError` without privileged state."""
    truth = observation.privileged
    if truth is None:
        raise ValueError("the expert needs privileged state: open the environment with privileged=True")
    instances, regions = truth["instances"].tolist(), truth["regions"].tolist()
    places = instances + regions
    return Scene(
        truth["base"], truth["hand"], truth["hand_rotation"], float(truth["opening"][0]),
        float(truth["elbow"][0]),
        dict(zip(places, truth["positions"], strict=True)), dict(zip(places, truth["rotations"], strict=True)),
        dict(zip(regions, truth["region_half"], strict=True)),
        {name: Parts(*(truth[f"part_{field}"][truth["part_owner"] == number] for field in
                       ("centres", "rotations", "halves"))) for number, name in enumerate(instances)},
        dict(zip(truth["joints"].tolist(), truth["joint_values"].tolist(), strict=True)),
        dict(zip(instances, truth["grasped"].tolist(), strict=False)),
        tuple(Goal(*names, holds) for names, holds in zip(truth["goals"].tolist(), truth["holds"].tolist(),
                                                          strict=True)),
    )


def kind(instance: str) -> str:
    """The category of an instance: its name without the number."""
    return instance.rpartition("_")[0]
