"""Food of the built-in pack: cans, cartons, bottles and boxes, in millimetres."""

from __future__ import annotations

from envs.pack.palette import BISCUIT, BLUE, BROWN, DARK, GREEN, METAL, ORANGE, RED, WHITE, YELLOW
from envs.pack.shapes import Part, Rgb, Vec, box, disc, label, prism
from envs.pack.spec import HOPE, NO_MASS, OBJECT_OFFSETS_M, Body, Inertia, ObjectSpec


def can(body: Rgb, band: Rgb, behind: float) -> tuple[Part, ...]:
    """A soup can: 76.2 mm high, metal rims and a band around the middle.

    What collides stands `behind` mm further towards +y than what is seen, as it does in the official cans.
    """
    return (
        *prism(8, -0.5, 31.0, 76.2, axis=(0.0, behind)),
        disc(-0.5, 32.5, 75.0, body), disc(-2.0, 32.9, 26.0, band),
        disc(36.8, 31.0, 1.6, METAL), disc(-38.0, 32.0, 1.2, METAL),
    )


def flat_box(size: Vec, z: float, body: Rgb, stripe: Rgb) -> tuple[Part, ...]:
    """A carton that lies flat, with a stripe across its top and sides."""
    x, y, h = size
    return (
        box((0.0, 0.0, z), size, body),
        label((0.0, 0.0, z), (x * 0.45, y + 0.8, h + 0.8), stripe),
        label((x * 0.36, 0.0, z), (x * 0.10, y + 0.8, h + 0.8), stripe),
    )


def carton(side: Rgb, top: Rgb, mark: Rgb) -> tuple[Part, ...]:
    """A gable-top drink carton, 131 mm high."""
    return (
        box((0.0, 0.0, -14.75), (53.0, 52.5, 110.0), side),
        box((0.0, 0.0, 46.0), (53.0, 30.0, 14.0), top), box((0.0, 0.0, 57.2), (53.0, 7.0, 8.4), top),
        label((0.0, 0.0, 30.0), (53.8, 53.3, 22.0), top), label((0.0, 0.0, -30.0), (30.0, 53.6, 40.0), mark),
        label((0.0, 0.0, -30.0), (54.0, 30.0, 40.0), mark),
    )


def stacked(levels: tuple[tuple[float, float, float, float, Rgb], ...]) -> tuple[Part, ...]:
    """A bottle as boxes one upon another; each level is (z from, z to, x size, y size, colour)."""
    return tuple(box((0.0, 0.0, (a + b) / 2), (x, y, b - a), rgb) for a, b, x, y, rgb in levels)


def cookie_box(size: Vec) -> tuple[Part, ...]:
    """A red carton that lies flat, with a yellow band and round biscuits printed on its top."""
    x, y, h = size
    return (
        box((0.0, 0.0, 0.0), size, RED),
        label((0.0, 0.0, 0.0), (x + 0.8, y * 0.56, h + 0.8), YELLOW),
        *(Part("cylinder", (dx, dy, h / 2), (9.0, 9.0, 1.0), BISCUIT, False)
          for dx, dy in ((-18.0, -9.0), (4.0, 8.0), (20.0, -11.0))),
        label((0.0, -y * 0.39, 0.0), (x * 0.6, 6.0, h + 1.2), WHITE),
    )


DRESSING = (
    *stacked(((-72.7, -60.0, 42.0, 33.0, DARK), (-60.0, 0.0, 52.7, 35.5, DARK), (0.0, 24.0, 40.0, 33.0, DARK),
              (24.0, 46.0, 29.0, 29.0, DARK), (46.0, 72.85, 34.0, 34.0, GREEN))),
    label((0.0, 0.0, -30.0), (53.4, 36.2, 40.0), WHITE),
)
"""The bottle of both salad dressings, about its middle."""

_Q = (0.5, 0.5, -0.5, 0.5)
_FLAT = (0.70711, 0.0, 0.70711, 0.0)

FOOD: dict[str, ObjectSpec] = {
    "alphabet_soup": ObjectSpec(
        HOPE, "y", 0.025851, (0.03, -0.8, -2.67), _Q, (1.8681e-05, 1.8197e-05, 1.3359e-05), -0.04, 0.04, 0.025,
        can(BLUE, YELLOW, 3.7)),
    "tomato_sauce": ObjectSpec(
        HOPE, "y", 0.026633, (0.57, -0.79, -2.35), _Q, (1.939e-05, 1.8789e-05, 1.3925e-05), -0.06, 0.04, 0.025,
        can(RED, GREEN, 3.3)),
    "bbq_sauce": ObjectSpec(
        HOPE, "z", 0.01218, (0.0, 0.0, -7.6), (0.70711, 0.0, 0.0, 0.70711), (1.2111e-05, 1.1159e-05, 2.6032e-06),
        -0.06, 0.06, 0.015,
        (*stacked(((-54.6, -0.6, 47.0, 29.0, BROWN), (-0.6, 27.0, 36.0, 29.0, BROWN), (27.0, 52.5, 29.0, 29.0, RED))),
         label((0.0, 0.0, -26.0), (47.6, 29.6, 22.0), YELLOW))),
    "butter": ObjectSpec(
        HOPE, "z", 0.005247, (0.0, 0.0, 0.0), _FLAT, (3.2212e-06, 2.6703e-06, 8.1632e-07), -0.02, 0.02, 0.02,
        flat_box((76.2, 39.5, 17.4), 0.0, YELLOW, RED)),
    "chocolate_pudding": ObjectSpec(
        HOPE, "z", 0.010186, (-0.5, 0.0, 0.63), _FLAT, (7.2811e-06, 6.098e-06, 2.4594e-06), -0.06, 0.04, 0.025,
        flat_box((80.2, 46.3, 27.4), 0.63, BROWN, BLUE)),
    "cream_cheese": ObjectSpec(
        HOPE, "z", 0.006194, (0.0, 0.0, 0.0), _FLAT, (4.3444e-06, 3.5694e-06, 1.1047e-06), -0.025, 0.025, 0.03,
        flat_box((81.2, 42.7, 17.9), 0.0, WHITE, BLUE)),
    "ketchup": ObjectSpec(
        HOPE, "y", 0.023217, (0.42, -8.98, 0.78), _Q, (4.0329e-05, 3.7934e-05, 6.9914e-06), -0.06, 0.04, 0.025,
        (*stacked(((-72.4, -6.4, 56.2, 34.0, RED), (-6.4, 16.6, 48.0, 36.8, RED), (16.6, 37.0, 37.0, 36.8, RED),
                   (37.0, 73.2, 34.0, 34.0, WHITE))),
         label((0.0, 0.0, -36.0), (40.0, 34.8, 36.0), WHITE))),
    "milk": ObjectSpec(
        HOPE, "y", 0.031666, (0.35, -11.98, 0.0), _Q, (4.336e-05, 4.3294e-05, 1.4485e-05), -0.06, 0.04, 0.03,
        carton(WHITE, RED, RED)),
    "orange_juice": ObjectSpec(
        HOPE, "y", 0.031666, (-0.35, -11.98, 0.0), _Q, (4.336e-05, 4.3294e-05, 1.4485e-05), -0.06, 0.04, 0.025,
        carton(ORANGE, GREEN, WHITE)),
    "salad_dressing": ObjectSpec(
        HOPE, "y", 0.021785, (-0.46, -5.63, 0.21), _Q, (3.5189e-05, 3.3973e-05, 5.1878e-06), -0.06, 0.04, 0.025,
        DRESSING),
    "cookies": ObjectSpec(
        HOPE, "z", 0.009643, (0.0, 0.0, 0.0), (0.5, -0.5, 0.5, 0.5), (8.5819e-06, 5.7691e-06, 3.3808e-06),
        *OBJECT_OFFSETS_M, cookie_box((62.1, 82.6, 18.8))),
    "new_salad_dressing": ObjectSpec(
        HOPE, "y", *NO_MASS, *OBJECT_OFFSETS_M, (),
        bodies=(Body("bottle", DRESSING, Inertia(0.021785, (-0.46, -5.63, 0.21), _Q,
                                                 (3.5189e-05, 3.3973e-05, 5.1878e-06)), centre_mm=(0.0, 50.0, 0.0)),)),
}
"""Category -> what the pack writes for it."""
