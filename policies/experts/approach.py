"""Coming to a place beside furniture: over what is in the way, then down, turning the hand as it comes near."""

from __future__ import annotations

import numpy as np

from policies.experts.place import clearance
from policies.experts.scene import DOWN, Move, Scene

UP = np.array([0.0, 0.0, 1.0])
NEAR_M = 0.04
"""Horizontal distance from the place within which the hand may be as low as the place."""
SLOPE = 2.5
"""Height above the place over horizontal distance beyond that."""
TURNED_RAD = 0.4
"""Turn that may be left when the hand comes down."""
HIGH_M = 0.10
"""How far below the point between the finger tips a hand can reach that is turned to the side."""
SWEEP_RAD = 0.8
"""Turn that is not begun below the height of the way."""
LEAST_M = 0.10
"""Height from which the hand comes down at least."""


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """rad: the angle between two rotations, both float64[3, 3]."""
    return float(np.arccos(np.clip((np.trace(first @ second.T) - 1.0) / 2.0, -1.0, 1.0)))


def pitched(inward: np.ndarray, pitch: float) -> np.ndarray:
    """float64[3, 3]: a hand that points down for `pitch` 0 and along `inward` (horizontal) for pi/2; its fingers open
    in the vertical plane of `inward`."""
    out_of_palm = np.sin(pitch) * inward - np.cos(pitch) * UP
    along = np.cos(pitch) * inward + np.sin(pitch) * UP
    return _hand(along if along @ DOWN[:, 1] > 0 else -along, out_of_palm)


def pitched_flat(inward: np.ndarray, pitch: float) -> np.ndarray:
    """The same, but its fingers open horizontally, across `inward`."""
    along = np.cross(UP, inward)
    return _hand(-along * np.sign(along[0] + 1e-9), np.sin(pitch) * inward - np.cos(pitch) * UP)


def _hand(along: np.ndarray, out_of_palm: np.ndarray) -> np.ndarray:
    return np.stack([np.cross(along, out_of_palm), along, out_of_palm], axis=1)


def approach(scene: Scene, place: np.ndarray, rotation: np.ndarray, closed: bool, furniture: str,
             behind: bool = False) -> Move:
    """Go to `place` from above. `furniture` itself is not flown over, unless the hand is `behind` or above it now."""
    away = np.linalg.norm((scene.hand - place)[:2])
    turn = angle(rotation, scene.hand_rotation)
    top = max(clearance(scene, place, () if behind else (furniture,)) + HIGH_M, place[2] + LEAST_M)
    above = np.clip(max(SLOPE * (away - NEAR_M), 0.2 * (turn - TURNED_RAD)), 0.0, top - place[2])
    height = top if behind else place[2] + above
    free = np.clip((scene.hand[2] - height + 0.06) / 0.03, 0.0, 1.0)
    across = scene.hand[:2] + free * (place - scene.hand)[:2]
    # A hand that turns far among furniture sweeps over it, so it rises first.
    low = free == 0.0 and turn > SWEEP_RAD
    return Move(np.array([*across, height]), scene.hand_rotation if low else rotation, closed)
