"""Books and fixed furniture of the built-in pack: caddy, shelf, wine rack, in millimetres."""

from __future__ import annotations

from math import cos, radians, sin

from envs.pack.palette import (
    BEIGE,
    BLACK,
    BROWN,
    CHARCOAL,
    MAHOGANY,
    PAPER,
    PINE,
    PINE_DARK,
    WALNUT,
    WALNUT_LIGHT,
    WHITE,
    WICKER,
)
from envs.pack.shapes import Part, Rgb, Vec, beam, block, box
from envs.pack.spec import OBJECT_OFFSETS_M, TURBOSQUID, ObjectSpec, Region


def book(low: Vec, high: Vec, cover: Rgb, title: Rgb) -> tuple[Part, ...]:
    """A book that stands on its lower edge with its spine towards -y."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    middle, y, z = (x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2
    return (
        block(low, high, None),
        block((x0, y0, z0), (x0 + 2.5, y1, z1), cover, False), block((x1 - 2.5, y0, z0), (x1, y1, z1), cover, False),
        block((x0, y0, z0), (x1, y0 + 3.0, z1), cover, False),
        block((x0 + 2.0, y0 + 2.0, z0 + 2.5), (x1 - 2.0, y1 - 3.0, z1 - 2.5), PAPER, False),
        box((middle, y, z + (z1 - z0) * 0.22), (x1 - x0 + 0.6, (y1 - y0) * 0.6, (z1 - z0) * 0.14), title, False),
        box((middle, y, z - (z1 - z0) * 0.05), (x1 - x0 + 0.6, (y1 - y0) * 0.4, (z1 - z0) * 0.04), title, False),
        box((middle, y0 - 0.2, z + (z1 - z0) * 0.2), ((x1 - x0) * 0.5, 0.6, (z1 - z0) * 0.3), title, False),
    )


def caddy() -> tuple[Part, ...]:
    """A desk organiser that is open at the top: tall back and right side, low front, a slope on the left."""
    tall, low, split = 168.29, 74.0, 98.6
    slopes = tuple(
        part for y0, y1 in ((67.0, 74.0), (205.0, 216.88))
        for part in (block((-70.8, y0, 1.39), (70.8, y1, 74.0), WICKER),
                     beam((-62.0, (y0 + y1) / 2, 62.0), (67.0, (y0 + y1) / 2, 146.0), y1 - y0, 34.0, WICKER))
    )
    return (
        block((-75.5, -216.88, 1.39), (75.5, 216.88, 13.8), BROWN),
        block((62.8, -216.88, 1.39), (70.8, 216.88, tall), WICKER),
        block((-70.8, -216.88, 1.39), (70.8, -203.0, tall), WICKER),
        block((-70.8, -74.0, 1.39), (70.8, -62.0, tall), WICKER),
        block((-70.8, -216.88, 1.39), (-62.8, -62.0, 167.0), WICKER),
        block((-70.8, -62.0, 1.39), (-62.8, 216.88, low), WICKER),
        block((-5.6, -62.0, 1.39), (2.5, 67.0, split), WICKER),
        *slopes,
    )


def shelf() -> tuple[Part, ...]:
    """A dark shelf, open in front (-y), with one board above the ground and one on top."""
    x0, x1, y0, y1, top = -170.78, 180.74, -79.17, 111.7, 210.62
    return (
        block((x0, y0, 0.2), (x0 + 14.2, y1, top), WALNUT), block((x1 - 14.2, y0, 0.2), (x1, y1, top), WALNUT),
        block((x0, 107.0, 0.2), (x1, y1, top), WALNUT_LIGHT), block((x0, y0, 205.7), (x1, y1, top), WALNUT),
        block((x0, y0, 68.9), (x1, y1, 71.2), WALNUT_LIGHT),
        block((x0 + 14.2, y0 - 0.3, 66.0), (x1 - 14.2, y0 + 1.0, 73.0), WALNUT, False),
    )


def _rack_board(y: float, z: float) -> tuple[Part, ...]:
    """One inclined board of pine slats that rises towards +y, with a lip at its lower end; (y, z) is its middle."""
    slope, length = radians(31.5), 158.5
    along, normal = (cos(slope), sin(slope)), (-sin(slope), cos(slope))

    def point(x: float, a: float, n: float) -> Vec:
        return (x, y + a * along[0] + n * normal[0], z + a * along[1] + n * normal[1])

    half = length / 2
    seams = tuple(
        beam(point(0.0, a - 1.5, 4.4), point(0.0, a + 1.5, 4.4), 269.0, 1.0, PINE_DARK, False)
        for a in (-48.0, -16.0, 16.0, 48.0)
    )
    rims = tuple(
        beam(point(x, -half, 0.0), point(x, half, 0.0), 8.0, 10.0, MAHOGANY, False) for x in (-130.7, 130.7)
    )
    return (beam(point(0.0, -half, 0.0), point(0.0, half, 0.0), 268.76, 9.0, PINE), *seams, *rims)


def wine_rack() -> tuple[Part, ...]:
    """Two inclined pine boards on a dark red-brown frame."""
    return (
        *_rack_board(-6.0, 251.0), *_rack_board(-42.5, 127.0),
        block((-132.0, -77.5, 213.0), (132.0, -72.5, 229.0), MAHOGANY),
        block((-132.0, -111.5, 89.0), (132.0, -106.5, 105.0), MAHOGANY),
        block((-90.0, -124.37, -2.19), (90.0, 129.46, 25.0), MAHOGANY),
        beam((0.0, -8.0, 20.0), (0.0, 79.0, 326.0), 15.0, 15.0, MAHOGANY),
        block((-7.5, -30.0, 90.0), (7.5, 14.0, 112.0), MAHOGANY),
        block((-7.5, 6.0, 214.0), (7.5, 50.0, 236.0), MAHOGANY),
    )


FURNITURE: dict[str, ObjectSpec] = {
    "black_book": ObjectSpec(
        TURBOSQUID, "z", 0.042547, (-0.47, -12.15, 69.37), (0.0, 0.0, 1.0, 0.0),
        (0.00010724, 6.6962e-05, 4.6115e-05), *OBJECT_OFFSETS_M,
        book((-14.81, -67.34, 2.17), (13.87, 43.04, 136.57), BLACK, WHITE)),
    "yellow_book": ObjectSpec(
        TURBOSQUID, "z", 0.028125, (1.64, 0.08, 63.09), (0.0, 0.0, 1.0, 0.0),
        (5.7412e-05, 3.632e-05, 2.3689e-05), *OBJECT_OFFSETS_M,
        book((-10.13, -48.79, 1.97), (13.41, 48.95, 124.21), BEIGE, CHARCOAL)),
    "desk_caddy": ObjectSpec(
        TURBOSQUID, "z", 0.277963, (4.15, -22.95, 56.72), (0.3314, 0.27587, -0.62961, 0.64627),
        (0.0057314, 0.005461, 0.0013807), *OBJECT_OFFSETS_M, caddy(),
        (Region("right_contain_region", (6.31, -143.39, 65.58), (61.96, 62.16, 60.46), (0.0, 0.0, 1.0, 0.0)),
         Region("left_contain_region", (6.31, 145.51, 65.58), (61.96, 62.16, 60.46), (0.0, 0.0, 1.0, 0.0)),
         Region("back_contain_region", (33.64, -0.64, 85.58), (27.75, 62.16, 60.46), (0.0, 0.0, 1.0, 0.0)),
         Region("front_contain_region", (-31.02, -0.64, 40.54), (27.75, 35.95, 62.16),
                (0.0, 0.0, 0.70711, -0.70711)))),
    "wooden_two_layer_shelf": ObjectSpec(
        TURBOSQUID, "z", 0.206332, (4.56, 41.56, 117.21), (0.36202, 0.6077, 0.36104, 0.6077),
        (0.0046005, 0.0044386, 0.0016987), *OBJECT_OFFSETS_M, shelf(),
        (Region("top_side", (4.96, 15.67, 206.88), (175.57, 94.38, 1.47)),
         Region("top_region", (5.38, 16.87, 136.72), (67.39, 85.64, 150.93), (0.70711, 0.0, -0.70711, 0.0)),
         Region("bottom_region", (5.55, 16.87, 14.07), (35.28, 85.64, 155.8), (0.70711, 0.0, 0.70711, 0.0)))),
    "wine_rack": ObjectSpec(
        TURBOSQUID, "z", 0.152748, (0.0, -12.24, 111.06), (0.70709, -0.00527, 0.00527, 0.70709),
        (0.0022055, 0.0020554, 0.0010918), *OBJECT_OFFSETS_M, wine_rack(),
        (Region("top_region", (0.0, -80.03, 217.45), (100.87, 22.0, 2.51), (0.85491, -0.51877, 0.0, 0.0)),)),
}
"""Category -> what the pack writes for it."""
