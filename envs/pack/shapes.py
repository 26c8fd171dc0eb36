"""Solid parts of an object, in the frame in which the object stands upright (z up), in millimetres.

An object is a list of parts; each part says whether it collides, whether it is seen, and what it looks like.
Collision is boxes only: MuJoCo's box contacts are stable under LIBERO's stiff contact settings, cylinders are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, tan
from typing import Literal

Vec = tuple[float, float, float]
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One primitive."""

    kind: Literal["box", "cylinder"]
    """MuJoCo geom type."""
    centre_mm: Vec
    """Centre in the upright frame."""
    half_mm: Vec
    """Half extents of a box; (radius, radius, half height) of a cylinder."""
    rgb: Rgb | None
    """Colour where it is seen; None for a part that only collides."""
    collides: bool
    """True for a part of the collision shape."""
    yaw: float = 0.0
    """Rotation about z in radians, applied last."""
    tilt: float = 0.0
    """Rotation about the part's own y in radians, applied first."""


def box(centre: Vec, size: Vec, rgb: Rgb | None, collides: bool = True, yaw: float = 0.0, tilt: float = 0.0) -> Part:
    """A box by its centre and full size."""
    return Part("box", centre, (size[0] / 2, size[1] / 2, size[2] / 2), rgb, collides, yaw, tilt)


def label(centre: Vec, size: Vec, rgb: Rgb) -> Part:
    """A box that is seen but cannot be touched."""
    return box(centre, size, rgb, collides=False)


def disc(z: float, radius: float, height: float, rgb: Rgb) -> Part:
    """An upright cylinder about the z axis that is seen but cannot be touched."""
    return Part("cylinder", (0.0, 0.0, z), (radius, radius, height / 2), rgb, False)


def octagon(z: float, apothem: float, height: float) -> tuple[Part, ...]:
    """An upright regular octagonal prism as four crossed boxes; invisible."""
    side = apothem * tan(pi / 8)
    return tuple(
        Part("box", (0.0, 0.0, z), (apothem, side, height / 2), None, True, yaw=k * pi / 4) for k in range(4)
    )


def open_box(half_floor: float, half_rim: float, wall: float, heights: Vec, rgb: Rgb) -> tuple[Part, ...]:
    """A square tub with flared walls. `heights` are those of the slab's underside, its top and the rim."""
    bottom, top, rim = heights
    height = rim - bottom
    flare = (half_rim - half_floor) / (rim - top)
    radial = (half_floor + half_rim) / 2 + wall / 2
    walls = tuple(
        Part(
            "box",
            (radial * (1, 0, -1, 0)[k], radial * (0, 1, 0, -1)[k], bottom + height / 2),
            (wall / 2, half_rim + wall * 0.6, height / 2),
            rgb, True, yaw=k * pi / 2, tilt=flare,
        )
        for k in range(4)
    )
    floor = box((0.0, 0.0, (bottom + top) / 2), (2 * half_floor + wall, 2 * half_floor + wall, top - bottom), rgb)
    return (floor, *walls)
