"""Where each kind of object is taken: one table of measured numbers, and the choice among equal grasps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from policies.experts.drive import turned
from policies.experts.scene import Scene, kind

FINGER_REACH_M, FINGER_HALF_M = 0.060, 0.012
"""Open fingers: from the middle of the hand to their outer faces, and half of their width."""
FINGER_BELOW_M = 0.010
"""How far the finger tips reach below the point between the pads."""
PALM_REACH_M, PALM_HALF_M, PALM_ABOVE_M = 0.105, 0.033, 0.040
"""The palm: half of its length (along the fingers' axis), half of its thickness, its height above that point."""

REACH_M = 0.75
"""Distance from the arm's foot, horizontally, up to which a hand that points down is moved easily."""
NEAR_M = 0.03
"""Distance from a grasp at which the hand stays with it."""


@dataclass(frozen=True)
class Pinch:
    """Fingers on both sides of something narrow, from above."""

    across: tuple[int, ...]
    """Axes of the object (0, 1, 2) along which the fingers may open."""
    depth_m: float
    """How far below the object's top the pads are."""
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where, in the object's frame; only what is horizontal of it counts."""
    slide_m: float = 0.0
    """How far aside of that it may be taken, across the fingers, when something is in the way."""


@dataclass(frozen=True)
class Rim:
    """One finger inside of a vessel, the other outside."""

    radius_m: float
    """Of the middle of the wall, where it is taken."""
    height_m: float
    """Of the pads above the object's origin."""
    axis: tuple[float, float] = (0.0, 0.0)
    """Axis of the vessel in the object's frame."""
    avoid: float | None = None
    """Direction of the handle (rad, in the object's frame), where it cannot be taken; None without a handle."""


@dataclass(frozen=True)
class Hold:
    """One way of taking an object that lies as it lies now."""

    position: np.ndarray
    """float64[3]: the point between the pads."""
    yaw: float
    """Turn of the hand about the vertical, in (-pi/2, pi/2]."""

    @property
    def rotation(self) -> np.ndarray:
        """float64[3, 3]: see `Scene.hand_rotation`."""
        return turned(self.yaw)


GRASPS: Mapping[str, Pinch | Rim] = {
    "akita_black_bowl": Rim(0.0495, 0.036),
    "alphabet_soup": Pinch((0, 2), 0.033),
    "bbq_sauce": Pinch((0, 1), 0.033),
    "butter": Pinch((1,), 0.0045, slide_m=0.02),
    "chocolate_pudding": Pinch((1,), 0.0145, slide_m=0.02),
    "cream_cheese": Pinch((1,), 0.005, slide_m=0.02),
    "ketchup": Pinch((0, 2), 0.033),
    "milk": Pinch((0, 2), 0.033),
    "orange_juice": Pinch((0, 2), 0.033),
    "salad_dressing": Pinch((0, 2), 0.033),
    "tomato_sauce": Pinch((0, 2), 0.033),
}
"""Category -> how it is taken."""


def holds(scene: Scene, name: str) -> Iterator[Hold]:
    """The ways of taking an object, those that turn the hand least first."""
    grasp, origin, rotation = GRASPS[kind(name)], scene.positions[name], scene.rotations[name]
    if isinstance(grasp, Rim):
        yield from _rim(grasp, origin, rotation)
        return
    point = origin + rotation @ grasp.at
    point[2] = scene.top(name) - grasp.depth_m
    yaws = [_fold(np.arctan2(rotation[1, axis], rotation[0, axis]) - np.pi / 2) for axis in grasp.across]
    for yaw in sorted(yaws, key=abs):
        for slide in (0.0, grasp.slide_m, -grasp.slide_m) if grasp.slide_m else (0.0,):
            yield Hold(point + slide * turned(yaw)[:, 0], yaw)


def _rim(grasp: Rim, origin: np.ndarray, rotation: np.ndarray) -> Iterator[Hold]:
    middle = origin + rotation @ np.array([*grasp.axis, grasp.height_m])
    for turn in np.radians([0, -30, 30, -60, 60, 90]):
        for side in (0.0, np.pi):
            azimuth = np.pi / 2 + turn + side
            yield Hold(middle + grasp.radius_m * np.array([np.cos(azimuth), np.sin(azimuth), 0.0]), _fold(turn))


def _fold(yaw: float) -> float:
    """The same turn of two equal fingers within a quarter to either side."""
    return float((yaw + np.pi / 2) % np.pi - np.pi / 2)


def blocked(scene: Scene, name: str, hold: Hold) -> int:
    """How many points of the hand would be inside of other things."""
    along = hold.rotation[:, 1]
    fingers = hold.position + along * np.array([[-FINGER_REACH_M], [-0.045], [0.045], [FINGER_REACH_M]])
    fingers[:, 2] -= FINGER_BELOW_M
    palm = hold.position + along * np.linspace(-PALM_REACH_M, PALM_REACH_M, 9)[:, None]
    palm[:, 2] += PALM_ABOVE_M
    count = 0
    for other, parts in scene.parts.items():
        if other != name and np.linalg.norm(scene.positions[other][:2] - hold.position[:2]) < 0.5:
            count += int(parts.within(fingers, FINGER_HALF_M).sum() + parts.within(palm, PALM_HALF_M).sum())
    return count


def best_hold(scene: Scene, name: str, spot: np.ndarray) -> Hold:
    """The cheapest way of taking `name` (float64[3]: where its origin is to go): little turning, nothing touched, the
    hand near enough to the arm's foot there and here; the way that the hand is already in wins."""
    ways = list(holds(scene, name))
    return ways[0] if len(ways) == 1 else min(ways, key=lambda way: _cost(scene, name, way, spot))


def _cost(scene: Scene, name: str, hold: Hold, spot: np.ndarray) -> float:
    there = spot + hold.position - scene.positions[name]
    far = max(np.linalg.norm((point - scene.base)[:2]) for point in (hold.position, there))
    here = np.linalg.norm(hold.position - scene.hand) < NEAR_M and turn_between(scene.hand_rotation, hold.rotation) < 0.3
    return blocked(scene, name, hold) + 0.5 * abs(hold.yaw) + far + 30.0 * max(0.0, far - REACH_M) - (10.0 if here else 0.0)


def turn_between(first: np.ndarray, second: np.ndarray) -> float:
    """rad: between the axes along which two hands open; two equal fingers are the same either way round."""
    return float(np.arccos(min(abs(first[:, 1] @ second[:, 1]), 1.0)))
