"""Solid parts of an object, in the frame in which the object stands upright (z up), in millimetres.

An object is a list of parts; each part says whether it collides, whether it is seen, and what it looks like.
Collision is boxes only: MuJoCo's box contacts are stable under LIBERO's stiff contact settings, cylinders are not.
Round things collide as rings of boxes and are seen as surfaces of revolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin, tan
from typing import Literal

Vec = tuple[float, float, float]
Rgb = tuple[float, float, float]
Outline = tuple[tuple[float, float], ...]
"""Closed polygon of (radius, height), counter-clockwise with the radius to the right and the height up."""


@dataclass(frozen=True)
class Part:
    """One primitive."""

    kind: Literal["box", "cylinder", "lathe"]
    """MuJoCo geom type; "lathe" is a mesh, `outline` revolved about z."""
    centre_mm: Vec
    """Centre in the upright frame."""
    half_mm: Vec
    """Half extents of a box; (radius, radius, half height) of a cylinder; unused for a lathe."""
    rgb: Rgb | None
    """Colour where it is seen; None for a part that only collides."""
    collides: bool
    """True for a part of the collision shape."""
    yaw: float = 0.0
    """Rotation about z in radians, applied last."""
    tilt: float = 0.0
    """Rotation about the part's own y in radians, applied first."""
    outline: Outline = ()
    """What a lathe revolves; empty for a primitive."""
    facets: int = 24
    """Sides of a lathe."""


def box(centre: Vec, size: Vec, rgb: Rgb | None, collides: bool = True, yaw: float = 0.0, tilt: float = 0.0) -> Part:
    """A box by its centre and full size."""
    return Part("box", centre, (size[0] / 2, size[1] / 2, size[2] / 2), rgb, collides, yaw, tilt)


def block(low: Vec, high: Vec, rgb: Rgb | None, collides: bool = True) -> Part:
    """A box by its lowest and highest corner."""
    centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    return Part("box", centre, tuple((b - a) / 2 for a, b in zip(low, high, strict=True)), rgb, collides)


def label(centre: Vec, size: Vec, rgb: Rgb) -> Part:
    """A box that is seen but cannot be touched."""
    return box(centre, size, rgb, collides=False)


def disc(z: float, radius: float, height: float, rgb: Rgb) -> Part:
    """An upright cylinder about the z axis that is seen but cannot be touched."""
    return Part("cylinder", (0.0, 0.0, z), (radius, radius, height / 2), rgb, False)


def rod(start: Vec, end: Vec, radius: float, rgb: Rgb) -> Part:
    """A cylinder from `start` to `end` that is seen but cannot be touched."""
    dx, dy, dz = (b - a for a, b in zip(start, end, strict=True))
    centre = tuple((a + b) / 2 for a, b in zip(start, end, strict=True))
    half = hypot(dx, dy, dz) / 2
    return Part("cylinder", centre, (radius, radius, half), rgb, False, atan2(dy, dx), atan2(hypot(dx, dy), dz))


def beam(start: Vec, end: Vec, width: float, thickness: float, rgb: Rgb | None, collides: bool = True) -> Part:
    """A straight bar from `start` to `end`: `width` is horizontal, `thickness` stands in the bar's vertical plane."""
    dx, dy, dz = (b - a for a, b in zip(start, end, strict=True))
    centre = tuple((a + b) / 2 for a, b in zip(start, end, strict=True))
    size = (hypot(dx, dy, dz), width, thickness)
    return box(centre, size, rgb, collides, yaw=atan2(dy, dx), tilt=-atan2(dz, hypot(dx, dy)))


def lathe(outline: Outline, rgb: Rgb, axis: tuple[float, float] = (0.0, 0.0), facets: int = 24,
          phase: float = 0.0) -> Part:
    """A surface of revolution that is seen but cannot be touched."""
    return Part("lathe", (*axis, 0.0), (0.0, 0.0, 0.0), rgb, False, yaw=phase, outline=outline, facets=facets)


def prism(sides: int, z: float, apothem: float, height: float, phase: float = 0.0,
          axis: tuple[float, float] = (0.0, 0.0)) -> tuple[Part, ...]:
    """An upright regular prism with an even number of sides as crossed boxes; invisible."""
    side = apothem * tan(pi / sides)
    return tuple(
        Part("box", (*axis, z), (apothem, side, height / 2), None, True, yaw=phase + k * 2 * pi / sides)
        for k in range(sides // 2)
    )


def foot(low: float, high: float, half: float, axis: tuple[float, float] = (0.0, 0.0)) -> tuple[Part, ...]:
    """The floor of a round vessel: two crossed square slabs, which stand on eight corners; invisible."""
    return tuple(
        Part("box", (*axis, (low + high) / 2), (half, half, (high - low) / 2), None, True, yaw=k * pi / 4)
        for k in range(2)
    )


def ring(sides: int, low: tuple[float, float], high: tuple[float, float], wall: float,
         axis: tuple[float, float] = (0.0, 0.0), phase: float = 0.0) -> tuple[Part, ...]:
    """The thin wall of a hollow vessel as a ring of flared boxes; invisible.

    `low` and `high` are (apothem, height) of the outer face; the wall lies inside of it. The boxes meet at the upper
    edge, so the ring is closed there, which is what fingers grasp.
    """
    dr, dz = high[0] - low[0], high[1] - low[1]
    flare = atan2(dr, dz)
    radial = (low[0] + high[0]) / 2 - wall / 2 * cos(flare)
    z = (low[1] + high[1]) / 2 + wall / 2 * sin(flare)
    half = (wall / 2, max(low[0], high[0]) * tan(pi / sides), hypot(dr, dz) / 2)
    return tuple(
        Part("box", (axis[0] + radial * cos(yaw), axis[1] + radial * sin(yaw), z), half, None, True, yaw, flare)
        for yaw in (phase + k * 2 * pi / sides for k in range(sides))
    )


def open_box(half_floor: tuple[float, float], half_rim: tuple[float, float], wall: tuple[float, float], heights: Vec,
             rgb: Rgb) -> tuple[Part, ...]:
    """A rectangular tub with flared walls.

    `half_floor` and `half_rim` are the inner half widths along x and y where the walls meet the floor and at the rim;
    `wall` is the thickness of the walls across x and across y; `heights` are those of the slab's underside, its top and
    the rim.
    """
    bottom, top, rim = heights
    floor = box((0.0, 0.0, (bottom + top) / 2),
                (2 * half_floor[0] + wall[0], 2 * half_floor[1] + wall[1], top - bottom), rgb)
    walls = tuple(
        _wall(half_floor[k % 2], half_rim[k % 2], wall[k % 2], half_rim[1 - k % 2] + 0.35 * wall[1 - k % 2], heights,
              k * pi / 2, rgb)
        for k in range(4)
    )
    return (floor, *walls)


def _wall(near: float, far: float, thickness: float, half_length: float, heights: Vec, yaw: float,
          rgb: Rgb) -> Part:
    """A wall of a tub on the side at angle `yaw`, its inner face from `near` at the floor to `far` at the rim."""
    bottom, top, rim = heights
    flare = atan2(far - near, rim - top)
    # Its edges, not its middle, end at the underside and at the rim.
    half_height = ((rim - bottom) / 2 - thickness / 2 * sin(flare)) / cos(flare)
    radial = (near + far) / 2 - (far - near) / (rim - top) * (top - bottom) / 2 + thickness / 2 / cos(flare)
    centre = (radial * cos(yaw), radial * sin(yaw), (bottom + rim) / 2)
    return Part("box", centre, (thickness / 2, half_length, half_height), rgb, True, yaw, flare)
