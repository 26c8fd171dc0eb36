"""Write the MJCF of one object or scene in the shape that robosuite's object parser demands.

The wrapper body holds the three offset sites; the body named "object" holds everything else; every geom has an
explicit group (0 collides, 1 is seen); sites carry explicit pos, quat and size.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from math import cos, sin

import numpy as np

from envs.pack.shapes import Part
from envs.pack.table import ObjectSpec

_FRICTION, _SOLREF, _SOLIMP = "0.95 0.3 0.1", "0.001 1", "0.998 0.998 0.001"
"""Contact settings of the official objects."""

_UP = {"z": np.array([1.0, 0.0, 0.0, 0.0]), "y": np.array([np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0])}
"""Rotation from the upright frame to the object's own frame (w, x, y, z)."""


def _numbers(values) -> str:
    """Numbers joined by single spaces: robosuite splits on exactly one."""
    return " ".join(f"{float(v):.6g}" for v in values)


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product of two quaternions (w, x, y, z)."""
    w, x, y, z = a
    return np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]]) @ b


def _rotate(q: np.ndarray, v) -> np.ndarray:
    """Rotate the vector `v` by the quaternion `q`."""
    conjugate = q * np.array([1.0, -1.0, -1.0, -1.0])
    return _multiply(_multiply(q, np.array([0.0, *v])), conjugate)[1:]


def _add_part(body: ET.Element, part: Part, up: str) -> None:
    """Append the geoms of one part: one that collides, one that is seen."""
    turn = _multiply(
        np.array([cos(part.yaw / 2), 0.0, 0.0, sin(part.yaw / 2)]),
        np.array([cos(part.tilt / 2), 0.0, sin(part.tilt / 2), 0.0]),
    )
    half = np.array(part.half_mm) / 1000
    common = {
        "type": part.kind,
        "pos": _numbers(_rotate(_UP[up], part.centre_mm) / 1000),
        "quat": _numbers(_multiply(_UP[up], turn)),
        "size": _numbers(half if part.kind == "box" else (half[0], half[2])),
    }
    if part.collides:
        ET.SubElement(body, "geom", common | {
            "group": "0", "friction": _FRICTION, "solref": _SOLREF, "solimp": _SOLIMP, "condim": "3",
            "rgba": "0.5 0.5 0.5 0",
        })
    if part.rgb is not None:
        ET.SubElement(body, "geom", common | {
            "group": "1", "contype": "0", "conaffinity": "0", "mass": "0", "rgba": _numbers((*part.rgb, 1.0)),
        })


def _site(parent: ET.Element, name: str, pos, size, rgba: str = "0 0 0 0") -> None:
    ET.SubElement(parent, "site", {
        "name": name, "pos": _numbers(pos), "quat": "1 0 0 0", "size": _numbers(size), "type": "box", "rgba": rgba,
    })


def object_xml(name: str, spec: ObjectSpec) -> str:
    """The MJCF text of one object."""
    root = ET.Element("mujoco", {"model": name})
    ET.SubElement(root, "asset")
    wrapper = ET.SubElement(ET.SubElement(root, "worldbody"), "body")
    body = ET.SubElement(wrapper, "body", {"name": "object"})
    ET.SubElement(body, "inertial", {
        "pos": _numbers(np.array(spec.com_mm) / 1000), "quat": _numbers(spec.inertia_quat),
        "mass": f"{spec.mass_kg:.6g}", "diaginertia": _numbers(spec.inertia),
    })
    for part in spec.parts:
        _add_part(body, part, spec.up)
    for region in spec.regions:
        _site(body, region.name, np.array(region.centre_mm) / 1000, np.array(region.half_mm) / 1000)
    _site(wrapper, "bottom_site", (0, 0, spec.bottom_m), (0.005, 0.005, 0.005))
    _site(wrapper, "top_site", (0, 0, spec.top_m), (0.005, 0.005, 0.005))
    _site(wrapper, "horizontal_radius_site", (spec.radius_m, 0, 0), (0.005, 0.005, 0.005))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def floor_scene_xml() -> str:
    """The room of libero_object: a floor, four walls, two lights; no furniture."""
    root = ET.Element("mujoco", {"model": "floor_arena"})
    asset = ET.SubElement(root, "asset")
    ET.SubElement(asset, "texture", {
        "builtin": "gradient", "height": "32", "width": "32", "rgb1": ".9 .9 1.", "rgb2": ".2 .3 .4", "type": "skybox"})
    for texture, file in (("texplane", "light-gray-floor-tile.png"), ("tex-wall", "light-gray-plaster.png")):
        ET.SubElement(asset, "texture", {"name": texture, "file": f"../textures/{file}", "type": "2d"})
    for material, texture in (("floorplane", "texplane"), ("walls_mat", "tex-wall")):
        ET.SubElement(asset, "material", {
            "name": material, "texture": texture, "texrepeat": "3 3", "texuniform": "true", "reflectance": "0",
            "specular": "0", "shininess": "0"})
    world = ET.SubElement(root, "worldbody")
    floor = ET.SubElement(world, "body", {"name": "floor", "pos": "0 0 0"})
    ET.SubElement(floor, "geom", {
        "name": "floor", "type": "plane", "size": "3 3 0.125", "group": "1", "condim": "3", "material": "floorplane"})
    walls = {
        "wall_left_visual": ("0 3 1.5", "3 0.01 1.5"), "wall_right_visual": ("0 -3 1.5", "3 0.01 1.5"),
        "wall_rear_visual": ("-2 0 1.5", "0.01 3 1.5"), "wall_front_visual": ("3 0 1.5", "0.01 3 1.5"),
    }
    for name, (pos, size) in walls.items():
        ET.SubElement(world, "geom", {
            "name": name, "type": "box", "pos": pos, "size": size, "group": "1", "contype": "0", "conaffinity": "0",
            "material": "walls_mat"})
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
