"""Where each kind of object is taken: one table of measured numbers, and the choice among equal grasps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from policies.experts.drive import leaning, overreach, turned
from policies.experts.scene import Parts, Scene, joined, kind

FINGER_BELOW_M = 0.010
"""How far the finger tips reach below the point between the pads."""
_FINGER = ((0.0575, -0.001, 0.009), (0.0610, -0.012, -0.001), (0.0655, -0.026, -0.012), (0.0672, -0.045, -0.026))
"""Slices of an open finger: its outer face, from its inner one at 0.040, and between which heights; palm upwards."""
_HAND: tuple[tuple[tuple[float, float], ...], ...] = (
    *(((-0.0105, 0.0105), (0.040, out), (low, high)) for out, low, high in _FINGER),
    *(((-0.0105, 0.0105), (-out, -0.040), (low, high)) for out, low, high in _FINGER),
    ((-0.005, 0.005), (-0.038, 0.038), (-0.020, 0.009)),
)
"""The open fingers and the gap between the pads in the hand's own frame, from its collision meshes; the direction out
of the palm is the last."""
_PALM = ((-0.032, 0.032), (-0.104, 0.104), (-0.150, -0.031))
_ABOVE = ((-0.045, 0.045), (-0.125, 0.125), (-0.330, -0.150))
"""Where the palm comes from on its way down, not quite straight."""


def _boxes(ranges: tuple[tuple[tuple[float, float], ...], ...]) -> Parts:
    """Boxes from their ranges in the hand's frame, with 1 mm to spare."""
    low, high = np.moveaxis(np.array(ranges), 2, 0)
    return Parts((low + high) / 2, np.tile(np.eye(3), (len(ranges), 1, 1)), (high - low) / 2 + 0.001)


OUTLINE, COMING = _boxes((*_HAND, _PALM)), _boxes((*_HAND, _PALM, _ABOVE))
"""The open hand as boxes, where it acts and with its way there."""
FAR_COST = 60.0
"""Cost of stretching the arm, per metre; a part of the hand that touches something costs 1."""
SLANT_COST = 100.0
"""Cost of leaning beside the best place, per rad and metre: there the pads meet a wall at a slant and jam it."""
SPARE_M = 0.015
"""Reach that costs nothing to keep: a hand that works at its end is pushed over it by the first touch."""
LEANS_RAD = (0.0, 0.2, 0.4)
"""By how much the hand may lean back, where it is not turned by more than `LEAN_YAW_RAD`."""
LEAN_YAW_RAD = 0.8
TURNING_M = 0.04
"""How much nearer to the arm's foot a hand gets that turns a round object in the air."""
AT_ONCE = 8
"""How many ways are tested together."""
AROUND_M = 0.35
"""Distance from an object's origin beyond which nothing can be in the way of taking it."""
HANDLE_COSINE = 0.6
"""Cosine of the angle about a handle within which a rim is not taken."""
NEAR_M, NEAR_RAD = 0.03, 0.15
"""Distance and turn from a grasp within which the hand stays with it."""


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
    inset_m: float = 0.015
    """How far inside of the wall the hand may also come down; the outer finger then draws the vessel in."""
    avoid: float | None = None
    """Direction of the handle (rad, in the object's frame), where it cannot be taken; None without a handle."""


@dataclass(frozen=True)
class Hold:
    """One way of taking an object that lies as it lies now."""

    position: np.ndarray
    """float64[3]: the point between the pads."""
    yaw: float
    """Turn of the hand about the vertical, in (-pi/2, pi/2]."""
    aside_m: float = 0.0
    """How far from where it is best taken."""
    lean: float = 0.0
    """Turn of the hand about the axis along which its fingers open, the palm towards the arm."""

    @property
    def rotation(self) -> np.ndarray:
        """float64[3, 3]: see `Scene.hand_rotation`."""
        return turned(self.yaw) @ leaning(self.lean)


GRASPS: Mapping[str, Pinch | Rim] = {
    "akita_black_bowl": Rim(0.0495, 0.044),
    "alphabet_soup": Pinch((0, 2), 0.027),
    "bbq_sauce": Pinch((0, 1), 0.027),
    "black_book": Pinch((0,), 0.030, (0.0, -0.012, 0.0)),
    "butter": Pinch((1,), 0.0045, slide_m=0.02),
    "chefmate_8_frypan": Pinch((1,), 0.018, (0.15, 0.0, 0.0)),
    "chocolate_pudding": Pinch((1,), 0.0145, slide_m=0.02),
    "cream_cheese": Pinch((1,), 0.005, slide_m=0.02),
    "ketchup": Pinch((0, 2), 0.027),
    "milk": Pinch((0, 2), 0.027),
    "moka_pot": Pinch((0, 1), 0.007),
    "new_salad_dressing": Pinch((0, 2), 0.027),
    "orange_juice": Pinch((0, 2), 0.027),
    "porcelain_mug": Rim(0.0421, 0.095, (0.0123, -0.0012), avoid=np.pi),
    "red_coffee_mug": Rim(0.0385, 0.118, (-0.0157, -0.001), avoid=0.0),
    "salad_dressing": Pinch((0, 2), 0.027),
    "tomato_sauce": Pinch((0, 2), 0.027),
    "white_bowl": Rim(0.038, 0.026),
    "white_yellow_mug": Rim(0.0485, 0.090, (-0.0186, 0.0), avoid=0.0),
    "wine_bottle": Pinch((0, 1), 0.030),
    "yellow_book": Pinch((0,), 0.030, (0.0016, 0.0, 0.0)),
}
"""Category -> how it is taken."""


def holds(scene: Scene, name: str) -> Iterator[Hold]:
    """The ways of taking an object, those that turn the hand least first."""
    for way in _upright(scene, name):
        yield way
        if abs(way.yaw) < LEAN_YAW_RAD:
            yield from (replace(way, lean=lean) for lean in LEANS_RAD[1:])


def _upright(scene: Scene, name: str) -> Iterator[Hold]:
    grasp, origin, rotation = GRASPS[kind(name)], scene.positions[name], scene.rotations[name]
    if isinstance(grasp, Rim):
        yield from _rim(grasp, origin, rotation)
        return
    point = origin + rotation @ grasp.at
    point[2] = scene.top(name) - grasp.depth_m
    yaws = [_fold(np.arctan2(rotation[1, axis], rotation[0, axis]) - np.pi / 2) for axis in grasp.across]
    for yaw in sorted(yaws, key=abs):
        for slide in (0.0, grasp.slide_m, -grasp.slide_m) if grasp.slide_m else (0.0,):
            yield Hold(point + slide * turned(yaw)[:, 0], yaw, abs(slide))


def _rim(grasp: Rim, origin: np.ndarray, rotation: np.ndarray) -> Iterator[Hold]:
    middle = origin + rotation @ np.array([*grasp.axis, grasp.height_m])
    facing = np.arctan2(rotation[1, 0], rotation[0, 0])
    for turn in np.radians([0, -15, 15, -30, 30, -45, 45, -60, 60, -75, 75, 90]):
        for side in (0.0, np.pi):
            azimuth = np.pi / 2 + turn + side
            if grasp.avoid is not None and np.cos(azimuth - facing - grasp.avoid) > HANDLE_COSINE:
                continue
            outward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
            for inset in (0.0, grasp.inset_m) if grasp.inset_m else (0.0,):
                yield Hold(middle + (grasp.radius_m - inset) * outward, _fold(turn), inset)


def _fold(yaw: float) -> float:
    """The same turn of two equal fingers within a quarter to either side."""
    return float((yaw + np.pi / 2) % np.pi - np.pi / 2)


def blocked(near: Parts, ways: list[Hold], shift: np.ndarray, hand: Parts) -> np.ndarray:
    """int[W]: how many pairs of a part of the hand and one of the boxes `near` overlap, for each way, moved by
    `shift` (float64[3])."""
    hands = joined(hand.moved(way.position + shift, way.rotation) for way in ways)
    return hands.overlaps(near).reshape(len(ways), -1).sum(axis=1)


def best_hold(scene: Scene, name: str, spot: np.ndarray) -> Hold:
    """The cheapest way of taking `name`, whose origin is to go to `spot` (float64[3]): little turning, nothing touched
    on the way down and at the spot, the wrist near enough to the arm's foot; the way it is in already wins."""
    ways = list(holds(scene, name))
    shift = spot - scene.positions[name]
    if len(ways) == 1:
        return ways[0]
    others = joined(parts for other, parts in scene.parts.items() if other != name)
    here = others.near(scene.positions[name], AROUND_M)
    # An object that was pushed may have come to lie where the hand cannot take it as it meant to.
    free = [way for way in ways if _is_at(scene, way) and not blocked(here, [way], np.zeros(3), OUTLINE)[0]]
    if free:
        return min(free, key=lambda way: _away(scene, way))
    there, turns = others.near(spot, AROUND_M), isinstance(GRASPS[kind(name)], Rim)
    best, least = ways[0], np.inf
    ordered = sorted(((_cost(scene, way, shift, turns), way) for way in ways), key=lambda pair: pair[0])
    for start in range(0, len(ordered), AT_ONCE):
        costs, some = zip(*ordered[start:start + AT_ONCE], strict=True)
        if costs[0] >= least:
            break
        found = costs + blocked(here, some, np.zeros(3), COMING) + 0.5 * blocked(there, some, shift, OUTLINE)
        if found.min() < least:
            best, least = some[int(np.argmin(found))], found.min()
    return best


def _cost(scene: Scene, hold: Hold, shift: np.ndarray, turns: bool) -> float:
    """What a hold costs if nothing is in the way. An object that may be turned in the air (`turns`) can be put where
    the hand cannot go as it is."""
    far = max(overreach(scene.base, hold.position, hold.rotation),
              overreach(scene.base, hold.position + shift, hold.rotation) - (TURNING_M if turns else 0.0))
    slant = (0.5 + SLANT_COST * hold.aside_m) * hold.lean
    return 0.5 * abs(hold.yaw) + slant + 2.0 * hold.aside_m + far + FAR_COST * max(0.0, far + SPARE_M)


def _away(scene: Scene, hold: Hold) -> float:
    """How far the hand is from a hold, m; a turn of 1 rad counts as 10 cm."""
    turn = turn_between(scene.hand_rotation, hold.rotation)
    return float(np.linalg.norm(hold.position - scene.hand)) + 0.1 * turn


def _is_at(scene: Scene, hold: Hold) -> bool:
    near = np.linalg.norm(hold.position - scene.hand) < NEAR_M
    return bool(near and turn_between(scene.hand_rotation, hold.rotation) < NEAR_RAD)


def turn_between(first: np.ndarray, second: np.ndarray) -> float:
    """rad: from one hand's rotation to another's; two equal fingers are the same either way round."""
    turn = first.T @ second
    cosines = (np.trace(turn) - 1.0) / 2.0, (turn[2, 2] - turn[0, 0] - turn[1, 1] - 1.0) / 2.0
    return float(np.arccos(np.clip(max(cosines), -1.0, 1.0)))
