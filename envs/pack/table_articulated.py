"""Furniture of the built-in pack that moves: cabinets with drawers, the stove with its knob, the microwave, in mm.

The joints keep a little slack beyond their rest value (drawers +10 mm, knob -0.005 rad), because LIBERO calls a drawer
closed and a stove off only beyond it. A drawer can reach its slack: no part of the frame stands in its way.
"""

from __future__ import annotations

from math import pi

from envs.pack.palette import (
    BLACK,
    CHARCOAL,
    DARK,
    GREEN_GLOW,
    METAL,
    OFFWHITE,
    SILVER,
    STEEL,
    WALNUT,
    WALNUT_LIGHT,
    WHITE,
)
from envs.pack.shapes import Part, Rgb, block, disc, lathe, prism, rod
from envs.pack.spec import (
    ARTICULATED,
    DRAWER_INERTIA,
    NO_MASS,
    SOFT,
    Body,
    Inertia,
    Joint,
    ObjectSpec,
    Region,
)

_SIDEWAYS = (0.70711, 0.0, 0.70711, 0.0)
"""Rotation of a drawer's site: its first half extent is the vertical one."""


def cabinet_frame(wood: Rgb) -> tuple[Part, ...]:
    """The frame without drawers, open towards -y. The boards between drawers begin behind the drawer fronts."""
    x0, x1, y0, y1 = -123.35, 131.23, -79.17, 111.7
    boards = tuple(
        block((x0 + 10.3, -54.0, low), (x1 - 10.3, y1 - 4.5, high), wood)
        for low, high in ((4.59, 10.2), (78.9, 80.4), (149.0, 150.5))
    )
    return (
        block((x0, y0, 4.59), (x0 + 10.3, y1, 222.99), wood), block((x1 - 10.3, y0, 4.59), (x1, y1, 222.99), wood),
        block((x0, y1 - 4.5, 4.59), (x1, y1, 222.99), wood), block((x0, y0, 220.2), (x1, y1, 222.99), wood), *boards,
    )


def drawer(low: float, wood: Rgb, inside: Rgb, bar: Rgb) -> tuple[Part, ...]:
    """A drawer whose front begins at height `low`: front panel, tub, and a bar handle on two posts."""
    x0, x1, y1 = -106.0, 112.68, 94.33
    top, floor, handle = low + 66.2, low + 10.35, low + 27.3
    return (
        block((x0, -78.0, low), (x1, -64.8, low + 68.54), wood),
        block((x0, -64.8, low + 2.35), (x1, y1, floor), inside),
        block((x0, -64.8, floor), (x0 + 6.8, y1, top), inside), block((x1 - 6.4, -64.8, floor), (x1, y1, top), inside),
        block((x0, 87.2, floor), (x1, y1, top), inside),
        block((-47.0, -109.31, handle), (42.0, -94.0, handle + 16.5), bar),
        *(block((x - 5.0, -96.0, handle + 1.0), (x + 5.0, -73.0, handle + 15.5), bar) for x in (-36.0, 29.0)),
    )


def cabinet(wood: Rgb, inside: Rgb, bar: Rgb) -> ObjectSpec:
    """A cabinet with three drawers. The joints come in the order top, middle, bottom."""
    drawers = tuple(
        Body(f"cabinet_{level}", drawer(low, wood, inside, bar), DRAWER_INERTIA,
             Joint(f"{level}_level", "slide", (0.0, 1.0, 0.0), (-0.16, 0.01), 50.0),
             (Region(f"{level}_region", (3.28, 11.28, centre), (29.93, 75.61, 102.24), _SIDEWAYS),))
        for level, low, centre in (("top", 148.82, 185.63), ("middle", 79.11, 116.9), ("bottom", 10.49, 47.01))
    )
    frame = Body(
        "base", cabinet_frame(wood),
        Inertia(0.176239, (3.46, 38.3, 107.76), (0.522, 0.47834, 0.52116, 0.47655), (0.0024554, 0.002212, 0.0015741)),
        regions=(Region("top_side", (3.54, 15.67, 221.52), (125.34, 94.38, 1.47), rgba=(0.8, 0.8, 0.0, 0.0)),),
        bodies=drawers)
    return ObjectSpec(ARTICULATED, "z", *NO_MASS, -0.045, 0.045, 0.045, (), bodies=(frame,))


def stove() -> ObjectSpec:
    """A hot plate with concentric rings, and a knob beside it that turns about +z."""
    # The uppermost surface collides in group 0, because LIBERO counts only such contacts as "on the stove".
    rings = tuple(
        lathe(((r - 5.0, 20.0), (r, 20.0), (r, 25.3), (r - 5.0, 25.3)), CHARCOAL) for r in (22.0, 36.0, 50.0, 64.0)
    )
    plate = (
        block((-95.0, -95.0, -20.0), (95.0, 95.0, 25.5), None),
        block((-95.0, -95.0, -20.0), (95.0, 95.0, 19.5), STEEL, False),
        lathe(((0.0, 19.0), (68.0, 19.0), (68.0, 21.0), (0.0, 21.0)), DARK), *rings, disc(22.0, 9.0, 6.0, CHARCOAL),
    )
    burner = Body(
        "burner", plate, Inertia(1.4801, (0.0, 0.0, 0.61), (0.5, 0.5, -0.5, 0.5), (0.0089053, 0.0046672, 0.0046672)),
        regions=(Region("cook_region", (0.0, 0.0, 0.0), (75.0, 75.0, 2.5), rgba=(0.8, 0.8, 0.0, 0.0)),
                 Region("burner", (0.0, 0.0, 22.0), (62.5, 0.5, 5.0), kind="cylinder", rgba=(0.9, 0.05, 0.05, 1.0))),
        centre_mm=(150.0, 0.0, 0.0))
    knob = Body(
        "button", (
            *prism(6, 6.68, 41.2, 12.64, pi / 6), block((-12.5, -43.31, 0.36), (12.5, 52.02, 50.02), BLACK),
            lathe(((0.0, 0.4), (47.0, 0.4), (45.0, 13.0), (0.0, 13.0)), CHARCOAL),
            block((-2.0, 30.0, 30.0), (2.0, 52.2, 50.4), WHITE, False),
        ), DRAWER_INERTIA, Joint("button", "hinge", (0.0, 0.0, 1.0), (-0.005, 2.1), 1.0),
        quat=(0.70711, 0.0, 0.0, 0.70711))
    return ObjectSpec(
        ARTICULATED, "z", *NO_MASS, -0.045, 0.045, 0.045, (), bodies=(Body("base", bodies=(burner, knob)),))


def microwave_door() -> Body:
    """The door: hinged at its left edge, a dark window, a silver handle on the right."""
    # In the frame of the hinge, which stands at (-172.5, -88, 96).
    panel_low, panel_high = (0.0, -25.0, -92.5), (259.0, -1.0, 92.5)
    return Body(
        "microdoorroot", (
            block(panel_low, panel_high, CHARCOAL),
            block((22.0, -25.6, -66.0), (212.0, -24.0, 66.0), BLACK, False),
            block((34.0, -25.9, -54.0), (200.0, -24.0, 54.0), DARK, False),
            block((228.5, -63.0, -75.0), (246.5, -45.0, 75.0), None),
            *(block((231.5, -46.0, z - 6.0), (243.5, -25.0, z + 6.0), SILVER) for z in (-58.0, 58.0)),
            rod((237.5, -54.0, -75.0), (237.5, -54.0, 75.0), 9.5, SILVER),
        ),
        Inertia(0.26, (154.42, -19.92, 0.0), (0.52261, 0.52261, 0.47632, 0.47632), (0.0024464, 0.0017195, 0.00082255)),
        Joint("microjoint", "hinge", (0.0, 0.0, 1.0), (-2.094, 0.0), 0.5), centre_mm=(-172.5, -88.0, 96.0))


def microwave() -> ObjectSpec:
    """A dark oven with a cavity on the left, a control panel on the right, and a hinged door."""
    keys = tuple(
        block((x, -112.0, z), (x + 15.0, -110.0, z + 11.0), METAL, False)
        for x in (98.0, 122.0, 146.0) for z in (38.0, 58.0, 78.0, 98.0)
    )
    parts = (
        block((-172.5, -88.0, 0.0), (-143.5, 110.5, 187.0), CHARCOAL),
        block((63.5, -88.0, 0.0), (172.5, 110.5, 187.0), CHARCOAL),
        block((-143.5, 80.5, 0.0), (63.5, 110.5, 187.0), CHARCOAL),
        block((-143.5, -88.0, 168.0), (63.5, 111.0, 187.0), CHARCOAL),
        block((-143.5, -88.0, 0.0), (63.5, 111.0, 24.0), STEEL),
        block((88.0, -110.5, 0.0), (172.5, -88.0, 187.0), CHARCOAL),
        block((91.0, -111.2, 8.0), (169.0, -110.0, 180.0), BLACK, False),
        block((97.0, -112.0, 130.0), (163.0, -110.0, 160.0), GREEN_GLOW, False), *keys,
    )
    return ObjectSpec(
        ARTICULATED, "z", 3.0, (-5.08, 2.08, 93.92), (0.57494, 0.57787, 0.40857, 0.41059),
        (0.05206, 0.051699, 0.02507), -0.06, 0.06, 0.015, parts,
        (Region("top_side", (0.0, 10.0, 200.0), (120.0, 83.5, 5.0)),
         Region("heating_region", (0.0, 10.0, 96.0), (120.0, 83.5, 80.0))),
        (microwave_door(),), SOFT)


ARTICULATED_OBJECTS: dict[str, ObjectSpec] = {
    "wooden_cabinet": cabinet(WALNUT, WALNUT_LIGHT, METAL),
    "white_cabinet": cabinet(OFFWHITE, WHITE, CHARCOAL),
    "flat_stove": stove(),
    "microwave": microwave(),
}
"""Category -> what the pack writes for it."""
