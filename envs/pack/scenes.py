"""Write the rooms of the built-in pack: floor, walls, lights, cameras, and the table that a suite needs.

LIBERO's code looks for a few names (table, its geoms and legs, floor, the two textures) and moves or recolours what it
finds; furniture against the walls is seen only. Lengths here are metres, as in MJCF.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

from envs.pack.palette import BLACK, CHARCOAL, CREAM, DARK, GREEN, OFFWHITE, ORANGE, RED, STEEL, WALNUT, WALNUT_LIGHT
from envs.pack.shapes import Rgb, Vec

_MAHOGANY_TOP: Rgb = (0.27, 0.18, 0.14)
_LEAVES: Rgb = (0.22, 0.36, 0.16)
_DESK: Rgb = (0.42, 0.29, 0.18)
_SKY = {"builtin": "gradient", "height": "32", "width": "32", "rgb1": ".9 .9 1.", "rgb2": ".2 .3 .4", "type": "skybox"}


def _text(values) -> str:
    """Numbers joined by single spaces: robosuite splits on exactly one."""
    return " ".join(f"{value:.6g}" for value in values)


def _seen(parent: ET.Element, low: Vec, high: Vec, rgb: Rgb) -> None:
    """A box between two corners that is seen but cannot be touched."""
    ET.SubElement(parent, "geom", {
        "type": "box", "pos": _text((a + b) / 2 for a, b in zip(low, high, strict=True)),
        "size": _text((b - a) / 2 for a, b in zip(low, high, strict=True)), "group": "1", "contype": "0",
        "conaffinity": "0", "mass": "0", "rgba": _text((*rgb, 1.0))})


def _solid(parent: ET.Element, low: Vec, high: Vec) -> None:
    """An invisible box between two corners that collides with MuJoCo's own, soft, contact settings.

    The official tables of the living room and the study are as stiff as the objects, and throw what an init state
    puts 3 cm inside of them up to the lamp. Soft tables push it out gently, to the same pose.
    """
    ET.SubElement(parent, "geom", {
        "type": "box", "pos": _text((a + b) / 2 for a, b in zip(low, high, strict=True)),
        "size": _text((b - a) / 2 for a, b in zip(low, high, strict=True)), "group": "0", "condim": "3",
        "friction": "0.95 0.3 0.1", "rgba": "0.5 0.5 0 0"})


def _room(model: str, floor_png: str, wall_png: str, materials: tuple[tuple[str, str], ...] = (),
          floor_in_body: bool = False) -> tuple[ET.Element, ET.Element]:
    """A model with sky, floor and four walls, and its worldbody."""
    root = ET.Element("mujoco", {"model": model})
    asset = ET.SubElement(root, "asset")
    ET.SubElement(asset, "texture", _SKY)
    for texture, file in (("texplane", floor_png), ("tex-wall", wall_png)):
        ET.SubElement(asset, "texture", {"name": texture, "file": f"../textures/{file}", "type": "2d"})
    for material, texture in (("floorplane", "texplane"), ("walls_mat", "tex-wall")):
        ET.SubElement(asset, "material", {
            "name": material, "texture": texture, "texrepeat": "3 3", "texuniform": "true", "reflectance": "0",
            "specular": "0", "shininess": "0"})
    for material, file in materials:
        ET.SubElement(asset, "texture", {"name": f"tex-{material}", "file": f"../textures/{file}", "type": "cube"})
        ET.SubElement(asset, "material", {
            "name": material, "texture": f"tex-{material}", "reflectance": "0", "specular": "0.2", "shininess": "0"})
    world = ET.SubElement(root, "worldbody")
    ground = ET.SubElement(world, "body", {"name": "floor", "pos": "0 0 0"}) if floor_in_body else world
    ET.SubElement(ground, "geom", {
        "name": "floor", "type": "plane", "size": "3 3 0.125", "group": "1", "condim": "3", "material": "floorplane"})
    walls = {
        "wall_left_visual": ("0 3 1.5", "3 0.01 1.5"), "wall_right_visual": ("0 -3 1.5", "3 0.01 1.5"),
        "wall_rear_visual": ("-2 0 1.5", "0.01 3 1.5"), "wall_front_visual": ("3 0 1.5", "0.01 3 1.5"),
    }
    for name, (pos, size) in walls.items():
        ET.SubElement(world, "geom", {
            "name": name, "type": "box", "pos": pos, "size": size, "group": "1", "contype": "0", "conaffinity": "0",
            "material": "walls_mat"})
    return root, world


def _finish(root: ET.Element, world: ET.Element) -> str:
    """Append the lights and the two cameras that only the scene brings, and return the text."""
    for name, pos in (("light1", "1 1 4"), ("light2", "-3 -3 4")):
        ET.SubElement(world, "light", {
            "name": name, "pos": pos, "dir": "0 -0.14834 -0.98894", "diffuse": ".8 .8 .8", "specular": ".3 .3 .3",
            "directional": "false", "castshadow": "false"})
    for name, pos, quat in (
        ("birdview", "-0.2 0 3.0", "0.7071 0 0 0.7071"),
        ("sideview", "-0.05652 1.27612 1.48796", "0.00991 0.00688 0.59122 0.80642"),
    ):
        ET.SubElement(world, "camera", {"mode": "fixed", "name": name, "pos": pos, "quat": quat})
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _dining_table(world: ET.Element) -> None:
    """The table of the tabletop and kitchen rooms; LIBERO sets its size, height and friction, and places its legs."""
    table = ET.SubElement(world, "body", {"name": "table", "pos": "0 0 0.875"})
    ET.SubElement(table, "geom", {
        "name": "table_collision", "type": "box", "pos": "0 0 0", "size": "0.5 0.6 0.025", "group": "0",
        "friction": "1 0.005 0.0001"})
    ET.SubElement(table, "geom", {
        "name": "table_visual", "type": "box", "pos": "0 0 0", "size": "0.5 0.6 0.025", "group": "1", "contype": "0",
        "conaffinity": "0", "material": "table_wood"})
    for leg in range(1, 5):
        ET.SubElement(table, "geom", {
            "name": f"table_leg{leg}_visual", "type": "cylinder", "pos": "0 0 -0.4", "size": "0.025 0.4", "group": "1",
            "contype": "0", "conaffinity": "0", "material": "table_wood"})
    ET.SubElement(table, "site", {
        "name": "table_top", "pos": "0 0 0.025", "size": "0.001 0.001 0.001", "rgba": "0 0 0 0"})


def floor_scene_xml() -> str:
    """The room of libero_object: a floor, four walls, two lights; no furniture."""
    return _finish(*_room("floor_arena", "light-gray-floor-tile.png", "light-gray-plaster.png", floor_in_body=True))


def tabletop_scene_xml() -> str:
    """A plain room with a pale table."""
    root, world = _room("tabletop_arena", "light-gray-floor-tile.png", "light-gray-plaster.png",
                        (("table_wood", "pale_wood.png"),))
    _dining_table(world)
    return _finish(root, world)


def kitchen_scene_xml() -> str:
    """The same table in a yellow room with grey tiles, a dark counter with a hob and pots, and a fridge."""
    root, world = _room("kitchen_arena", "gray_ceramic_tile.png", "yellow_linen_wall_texture.png",
                        (("table_wood", "pale_wood.png"),))
    _dining_table(world)
    _seen(world, (-1.98, -1.9, 0.0), (-1.35, 1.9, 0.86), WALNUT_LIGHT)
    _seen(world, (-1.98, -1.9, 0.86), (-1.32, 1.9, 0.9), DARK)
    for y in (-1.25, -0.6, 0.05, 0.7, 1.35):
        _seen(world, (-1.352, y - 0.29, 0.08), (-1.335, y + 0.29, 0.82), WALNUT)
    _seen(world, (-1.85, -0.35, 0.9), (-1.45, 0.45, 0.905), BLACK)
    _seen(world, (-1.7, 0.14, 0.905), (-1.42, 0.38, 1.06), RED)
    _seen(world, (-1.85, -0.95, 0.9), (-1.6, -0.72, 1.1), STEEL)
    _seen(world, (-1.98, -1.9, 1.5), (-1.65, 1.9, 2.1), WALNUT_LIGHT)
    _seen(world, (-1.98, -2.84, 0.0), (-1.53, -1.97, 1.77), STEEL)
    _seen(world, (-1.53, -2.1, 0.7), (-1.49, -2.05, 1.5), CHARCOAL)
    return _finish(root, world)


def living_room_scene_xml() -> str:
    """A wood floor, a big dark low table whose top is at 0.4368 m, a wall unit and a picture."""
    root, world = _room("living_room_arena", "seamless_wood_planks_floor.png", "light-gray-plaster.png",
                        floor_in_body=True)
    table = ET.SubElement(world, "body", {"name": "living_room_table", "pos": "0 0 0"})
    plates = (((-0.6943, -0.6193), (0.1943, 0.7241)), ((-0.6668, 0.698), (0.1668, 0.9007)),
              ((-0.6668, -0.8214), (0.1668, -0.6187)), ((0.1837, -0.6193), (0.3387, 0.7241)),
              ((-0.8242, -0.6193), (-0.6691, 0.7241)))
    for low, high in plates:
        _solid(table, (*low, 0.4131), (*high, 0.4368))
        _seen(table, (*low, 0.4131), (*high, 0.4368), _MAHOGANY_TOP)
    _solid(table, (-0.6616, -0.1852, -0.0047), (0.1616, 0.6852, 0.413))
    _seen(table, (-0.6616, -0.1852, 0.0), (0.1616, 0.6852, 0.413), WALNUT)
    _seen(world, (-1.95, 0.15, 0.96), (-1.945, 1.01, 1.96), ORANGE)
    _seen(world, (-1.946, 0.25, 1.06), (-1.94, 0.91, 1.86), CREAM)
    _seen(world, (-1.98, -1.6, 0.0), (-1.6, 1.6, 0.5), OFFWHITE)
    _seen(world, (-1.9, -0.9, 0.62), (-1.86, -0.02, 1.15), BLACK)
    _seen(world, (-1.9, -0.52, 0.5), (-1.8, -0.4, 0.62), CHARCOAL)
    return _finish(root, world)


def study_scene_xml() -> str:
    """A brown desk whose top is at 0.8851 m; a white bookshelf, a plant and a painting at the wall."""
    root, world = _room("study_arena", "light-gray-floor-tile.png", "light-gray-plaster.png")
    desk = ET.SubElement(world, "body", {"name": "study_table", "pos": "0 0 0"})
    boxes = [((-0.6895, -1.3927, 0.8135), (0.6895, 1.3927, 0.8851))]
    boxes += [((x, y, 0.0002), (x + 0.04, y + 0.1, 0.8135)) for x in (-0.5205, 0.4762) for y in (-0.7409, 0.6619)]
    boxes += [((-0.5176, y, 0.0038), (0.5078, y + 0.1, 0.0468)) for y in (-0.748, 0.6644)]
    for low, high in boxes:
        _solid(desk, low, high)
        _seen(desk, low, high, _DESK)
    _seen(world, (-1.95, 0.005, 1.0), (-1.91, 0.984, 1.98), WALNUT)
    _seen(world, (-1.91, 0.06, 1.06), (-1.905, 0.93, 1.92), ORANGE)
    for z in (0.0, 0.45, 0.9, 1.35, 1.76):
        _seen(world, (-1.87, -1.6, z), (-1.56, -0.39, z + 0.03), OFFWHITE)
    for y in (-1.6, -0.42):
        _seen(world, (-1.87, y, 0.0), (-1.56, y + 0.03, 1.79), OFFWHITE)
    for k, rgb in enumerate((RED, BLACK, GREEN, CREAM, BLACK, ORANGE)):
        _seen(world, (-1.82, -1.1 + 0.07 * k, 0.93), (-1.62, -1.05 + 0.07 * k, 1.17), rgb)
    _seen(world, (-1.95, 0.42, 0.0), (-1.65, 0.72, 0.4), OFFWHITE)
    for low, high in (((-1.83, 0.54, 0.4), (-1.77, 0.6, 1.2)), ((-1.9, 0.3, 0.75), (-1.7, 0.62, 0.95)),
                      ((-1.88, 0.5, 0.9), (-1.65, 0.84, 1.1)), ((-1.92, 0.42, 1.08), (-1.72, 0.7, 1.25))):
        _seen(world, low, high, _LEAVES)
    return _finish(root, world)


SCENES: dict[str, Callable[[], str]] = {
    "libero_floor_base_style": floor_scene_xml,
    "libero_tabletop_base_style": tabletop_scene_xml,
    "libero_kitchen_tabletop_base_style": kitchen_scene_xml,
    "libero_living_room_tabletop_base_style": living_room_scene_xml,
    "libero_study_base_style": study_scene_xml,
}
"""File name without ".xml" -> how it is written."""
