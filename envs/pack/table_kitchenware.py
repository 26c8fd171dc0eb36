"""Kitchenware of the built-in pack: bowls, plates, mugs, pots, the tray and the basket, in millimetres.

Vessels are hollow: a floor of two crossed slabs and rings of thin wall boxes, so that fingers straddle the rim and
things fall in. What is seen is a smooth surface of revolution about the same outline.
"""

from __future__ import annotations

from math import pi

import numpy as np

from envs.pack.palette import (
    BLACK,
    BOTTLE_GREEN,
    CHARCOAL,
    CORK,
    CREAM,
    METAL,
    PINE,
    PINE_DARK,
    RED,
    SILVER,
    WHITE,
    WICKER,
    YELLOW,
)
from envs.pack.shapes import Outline, Part, Rgb, beam, block, box, foot, lathe, open_box, prism, ring
from envs.pack.spec import OBJECT_OFFSETS_M, SCANNED, TURBOSQUID, ObjectSpec, Region


def vessel(outer: Outline, wall: float, floor: float, rgb: Rgb, inside: Rgb | None = None,
           axis: tuple[float, float] = (0.0, 0.0)) -> tuple[Part, ...]:
    """The look of a round vessel: `outer` runs from the foot to the rim; `floor` is the height of its inner floor."""
    radii, heights = zip(*outer, strict=True)
    well = float(np.interp(floor, heights, radii)) - wall
    inner = tuple((r - wall, z) for r, z in reversed(outer) if z > floor) + ((well, floor), (0.0, floor))
    parts = (lathe(((0.0, heights[0]), *outer, *inner), rgb, axis),)
    if inside is None:
        return parts
    # A skin of half a millimetre inside of the wall.
    skin = tuple((max(r - 0.6, 0.0), z + (0.6 if z == floor else 0.0)) for r, z in inner)
    lining = ((0.0, floor + 0.2), (well - 0.1, floor + 0.2), *((r - 0.1, z) for r, z in reversed(inner[:-2])), *skin)
    return (*parts, lathe(lining, inside, axis))


def bowl(outer: Outline, wall: float, floor: float, half_foot: float, rgb: Rgb, inside: Rgb) -> tuple[Part, ...]:
    """A round bowl; `outer` has three points: foot, shoulder, rim."""
    low, mid, high = outer
    return (
        *foot(low[1], floor, half_foot),
        *ring(12, (low[0], low[1] + 0.6), mid, wall), *ring(12, mid, (high[0], high[1] - 0.25 * wall), wall),
        *vessel(((low[0], low[1]), (0.55 * low[0] + 0.45 * mid[0], low[1] + 0.25 * (mid[1] - low[1])), mid, high),
                wall, floor, rgb, inside),
    )


def frypan() -> tuple[Part, ...]:
    """A dark pan with a flared rim and a long handle towards +x."""
    return (
        *foot(0.8, 12.0, 55.0), *prism(10, 7.1, 75.0, 11.2),
        *ring(10, (76.0, 1.6), (97.0, 42.0), 7.0),
        *vessel(((79.0, 0.8), (100.0, 42.8)), 6.0, 12.7, CHARCOAL, BLACK),
        beam((94.0, 0.0, 30.8), (140.0, 0.0, 36.8), 18.0, 10.0, METAL),
        beam((128.0, 0.0, 35.4), (257.5, 0.0, 52.5), 25.0, 12.0, BLACK),
        beam((236.0, 0.0, 56.0), (250.0, 0.0, 57.9), 10.0, 0.6, METAL, collides=False),
    )


def moka_pot() -> tuple[Part, ...]:
    """An octagonal pot in two silver storeys with a waist, a spout towards -y, a black handle and a black knob."""
    turn = pi / 8
    return (
        *foot(-66.1, -40.0, 28.0), *prism(8, 0.75, 37.3, 132.7, turn),
        lathe(((0, -66.1), (40.0, -66.1), (38.0, -40.0), (31.5, -8.0), (31.5, -2.0), (0, -2.0)), SILVER, facets=8,
              phase=turn),
        lathe(((0, -2.0), (33.5, -2.0), (33.5, 3.0), (0, 3.0)), METAL, facets=8, phase=turn),
        lathe(((0, 3.0), (31.5, 3.0), (38.5, 58.0), (0, 58.0)), SILVER, facets=8, phase=turn),
        lathe(((0, 58.0), (40.0, 58.0), (38.0, 61.0), (12.0, 67.1), (0, 67.1)), METAL, facets=8, phase=turn),
        box((0.0, 0.0, 74.4), (10.0, 12.0, 22.6), BLACK),
        box((0.0, -45.0, 46.0), (16.0, 22.6, 26.0), None),
        beam((0.0, -28.0, 38.0), (0.0, -52.5, 55.0), 14.0, 9.0, SILVER, collides=False),
        beam((0.0, 32.0, 60.5), (0.0, 74.0, 61.5), 13.0, 12.0, BLACK),
        beam((0.0, 70.0, 64.0), (0.0, 85.2, 44.0), 13.0, 12.0, BLACK),
        beam((0.0, 85.6, 52.0), (0.0, 55.0, -8.0), 13.0, 11.0, BLACK),
    )


def porcelain_mug() -> tuple[Part, ...]:
    """A white mug on a narrow foot; the handle is towards -x, the axis 12 mm off the origin."""
    axis, turn = (12.3, -1.2), pi / 8
    return (
        *foot(2.39, 12.8, 21.0, axis),
        *ring(8, (29.0, 3.0), (43.0, 44.0), 4.8, axis, turn), *ring(8, (44.5, 43.0), (44.5, 108.46), 4.8, axis, turn),
        *vessel(((27.0, 0.0), (29.0, 3.0), (36.0, 22.0), (44.0, 42.0), (46.5, 60.0), (46.5, 108.46)), 4.0, 12.8,
                WHITE, None, axis),
        beam((-32.0, -1.2, 88.0), (-60.0, -1.2, 72.0), 16.0, 8.0, WHITE),
        block((-64.67, -9.2, 35.0), (-56.5, 6.8, 76.5), WHITE),
        beam((-25.0, -1.2, 25.0), (-60.0, -1.2, 39.5), 16.0, 8.0, WHITE),
    )


def red_coffee_mug() -> tuple[Part, ...]:
    """A tall red mug; the handle is towards +x, the axis 16 mm off the origin."""
    axis, turn = (-15.7, -1.0), pi / 8
    return (
        *foot(2.7, 7.8, 20.0, axis), *ring(8, (31.0, -1.84), (42.4, 130.2), 6.5, axis, turn),
        *vessel(((30.0, -1.84), (33.0, 0.5), (44.2, 130.8)), 4.5, 7.8, RED, CREAM, axis),
        beam((18.0, -1.0, 29.0), (58.0, -1.0, 73.0), 15.0, 9.0, RED),
        block((53.5, -8.5, 69.0), (62.17, 6.5, 108.0), RED),
        beam((25.0, -1.0, 115.0), (58.0, -1.0, 104.5), 15.0, 9.0, RED),
    )


def white_yellow_mug() -> tuple[Part, ...]:
    """A wide mug, white outside and yellow inside; the handle is towards +x, the axis 19 mm off the origin."""
    axis = (-18.6, 0.0)
    return (
        *foot(-0.1, 5.2, 22.0, axis),
        *ring(12, (31.0, 0.4), (40.0, 19.0), 6.0, axis), *ring(12, (40.5, 18.0), (52.4, 102.4), 6.0, axis),
        *vessel(((30.0, -0.1), (38.0, 10.0), (42.0, 22.0), (47.0, 60.0), (52.8, 103.1)), 5.0, 5.2, WHITE, YELLOW, axis),
        beam((27.0, 0.0, 76.0), (63.0, 0.0, 80.5), 18.0, 9.0, WHITE),
        block((60.0, -9.0, 27.0), (68.4, 9.0, 85.0), WHITE),
        beam((22.0, 0.0, 34.0), (63.0, 0.0, 31.5), 18.0, 9.0, WHITE),
    )


def plate() -> tuple[Part, ...]:
    """A shallow plate: eight slabs that lean outwards around a flat middle."""
    return (
        box((0.0, 0.0, 3.6), (59.0, 59.0, 5.0), None), *ring(8, (32.0, -2.51), (68.3, 11.8), 5.0),
        lathe(((0.0, -1.5), (32.0, -2.5), (70.0, 12.2), (69.5, 16.4), (66.0, 16.4), (40.0, 6.2), (0.0, 6.2)), WHITE,
              facets=32),
        lathe(((40.0, 6.3), (40.5, 5.9), (44.0, 7.4), (43.5, 8.2)), RED, facets=32),
        lathe(((61.0, 14.5), (61.5, 14.0), (66.0, 15.9), (65.5, 16.9)), RED, facets=32),
    )


def wine_bottle() -> tuple[Part, ...]:
    """A dark green bottle with a cork-coloured top and a small label."""
    return (
        *foot(1.11, 20.0, 14.5), *prism(8, 33.85, 20.0, 64.3, pi / 8), *prism(8, 74.0, 15.0, 16.0),
        box((0.0, 0.0, 88.5), (23.0, 23.0, 13.0), None), box((0.0, 0.0, 126.5), (14.0, 14.0, 63.08), None),
        lathe(((0, 1.1), (21.0, 1.1), (21.5, 4.0), (21.5, 66.0), (18.0, 76.0), (10.5, 90.0), (7.5, 98.0),
               (7.5, 142.0), (0, 142.0)), BOTTLE_GREEN),
        lathe(((0, 141.0), (8.2, 141.0), (8.2, 158.0), (0, 158.0)), CORK),
        lathe(((21.0, 18.0), (21.8, 18.0), (21.8, 50.0), (21.0, 50.0)), CREAM),
        lathe(((21.0, 40.0), (22.0, 40.0), (22.0, 44.0), (21.0, 44.0)), RED),
    )


def tray() -> tuple[Part, ...]:
    """A slatted wooden crate with a thin carrying bar above each short end."""
    left, right, near, far = -141.56, 155.55, -87.61, 78.88
    planks = tuple(block((left + 3, y, -0.98), (right - 3, y + 46.0, 8.1), PINE) for y in (near, -27.4, far - 46.0))
    sides = tuple(block((left, y, 6.0), (right, y + 5.0, 61.0), PINE) for y in (near, far - 5.0))
    ends = tuple(block((x, near + 5.0, 6.0), (x + 5.5, far - 5.0, 54.5), PINE) for x in (left, right - 5.5))
    posts = tuple(block((x - 6.0, y, 6.0), (x + 6.0, y + 10.0, 78.5), PINE_DARK)
                  for x in (-133.0, 147.0) for y in (near + 5.0, far - 15.0))
    bars = tuple(block((x - 6.0, near + 5.0, 78.48), (x + 6.0, far - 5.0, 80.88), PINE_DARK) for x in (-133.0, 147.0))
    grooves = tuple(block((left - 0.4, y, z), (right + 0.4, y + 0.8, z + 1.6), PINE_DARK, collides=False)
                    for y in (near - 0.4, far - 0.4) for z in (24.0, 42.0))
    return (*planks, *sides, *ends, *posts, *bars, *grooves)


KITCHENWARE: dict[str, ObjectSpec] = {
    "basket": ObjectSpec(
        SCANNED, "z", 0.136107, (1.27, 0.1, 60.86), (0.70711, 0.0, 0.0, 0.70711),
        (0.00081685, 0.00068429, 0.0006389), -0.06, 0.04, 0.025,
        open_box((64.0, 63.0), (71.4, 69.3), (13.4, 9.2), (4.21, 21.9, 145.7), WICKER),
        (Region("contain_region", (0.0, 0.0, 71.85), (61.08, 61.08, 69.49)),)),
    "akita_black_bowl": ObjectSpec(
        SCANNED, "z", 0.005591, (2.28, 0.51, 22.71), (-0.02558, 0.70035, 0.02317, 0.71297),
        (9.0818e-06, 6.1049e-06, 5.7162e-06), *OBJECT_OFFSETS_M,
        bowl(((25.0, 1.59), (44.0, 16.3), (53.2, 52.13)), 4.0, 6.7, 20.0, BLACK, CHARCOAL)),
    "white_bowl": ObjectSpec(
        SCANNED, "z", 0.002086, (1.7, 0.36, 15.62), (-0.02769, 0.70093, 0.02486, 0.71226),
        (1.9657e-06, 1.2576e-06, 1.1693e-06), *OBJECT_OFFSETS_M,
        bowl(((18.0, 0.56), (33.5, 11.0), (40.6, 35.05)), 3.0, 4.2, 14.5, WHITE, WHITE)),
    "glazed_rim_porcelain_ramekin": ObjectSpec(
        SCANNED, "z", 0.00966, (-2.46, 0.06, 16.81), (-0.01714, 0.70832, 0.01656, 0.70549),
        (1.2177e-05, 7.995e-06, 7.3694e-06), *OBJECT_OFFSETS_M,
        (*foot(0.66, 7.3, 27.0), *ring(12, (38.2, 1.0), (44.0, 42.3), 4.5),
         *vessel(((37.0, 0.66), (39.5, 3.0), (44.4, 42.66)), 4.5, 7.3, WHITE))),
    "plate": ObjectSpec(
        SCANNED, "z", 0.011522, (0.33, 5.14, 6.45), (0.50869, 0.49022, -0.51216, 0.48848),
        (2.7633e-05, 1.5067e-05, 1.2923e-05), *OBJECT_OFFSETS_M, plate()),
    "chefmate_8_frypan": ObjectSpec(
        SCANNED, "z", 0.050247, (23.83, -0.88, 16.78), (-0.00194, 0.67623, 0.00212, 0.73669),
        (0.00039818, 0.0002911, 0.00012061), *OBJECT_OFFSETS_M, frypan()),
    "moka_pot": ObjectSpec(
        TURBOSQUID, "z", 0.068243, (0.06, 1.72, 4.31), (0.99973, -0.0219, 1e-05, 0.00822),
        (0.00014262, 0.00012808, 6.2192e-05), *OBJECT_OFFSETS_M, moka_pot()),
    "porcelain_mug": ObjectSpec(
        TURBOSQUID, "z", 0.016463, (10.16, -1.03, 54.64), (0.33825, 0.62491, 0.63428, 0.30456),
        (3.4155e-05, 2.8259e-05, 2.7812e-05), *OBJECT_OFFSETS_M, porcelain_mug()),
    "red_coffee_mug": ObjectSpec(
        TURBOSQUID, "z", 0.029353, (-15.23, -2.81, 62.37), (0.6021, 0.0128, 0.00649, 0.79829),
        (6.317e-05, 6.0243e-05, 3.4399e-05), *OBJECT_OFFSETS_M, red_coffee_mug()),
    "white_yellow_mug": ObjectSpec(
        TURBOSQUID, "z", 0.030912, (-13.66, 0.5, 51.03), (0.55254, 0.47468, 0.49881, 0.46965),
        (6.1084e-05, 5.8708e-05, 5.0812e-05), *OBJECT_OFFSETS_M, white_yellow_mug()),
    "wine_bottle": ObjectSpec(
        TURBOSQUID, "z", 0.015394, (0.19, -0.01, 56.15), (0.99838, 0.0019, -0.00063, -0.05692),
        (2.2922e-05, 2.285e-05, 2.5392e-06), *OBJECT_OFFSETS_M, wine_bottle()),
    "wooden_tray": ObjectSpec(
        TURBOSQUID, "z", 0.057154, (7.61, -5.39, 18.69), (0.00289, 0.70666, 0.00205, 0.70754),
        (0.00079038, 0.00060738, 0.00023191), *OBJECT_OFFSETS_M, tray(),
        (Region("contain_region", (8.63, -4.71, 42.55), (40.38, 78.39, 135.49), (0.70711, 0.0, 0.70711, 0.0)),)),
}
"""Category -> what the pack writes for it."""
