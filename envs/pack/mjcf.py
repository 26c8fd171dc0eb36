"""Write the MJCF of one object in the shape that robosuite's object parser demands.

The wrapper body holds the three offset sites; the body named "object" holds everything else; every geom has an
explicit group (0 collides, 1 is seen); sites carry explicit pos, quat and size; every mesh has a name.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from math import cos, sin

import numpy as np

from envs.pack.lathe import revolve
from envs.pack.shapes import Part
from envs.pack.spec import UPRIGHT, Body, Contact, Inertia, Joint, ObjectSpec, Region

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


def _add_part(body: ET.Element, part: Part, spec: ObjectSpec, asset: ET.Element) -> None:
    """Append the geoms of one part: one that collides, one that is seen."""
    turn = _multiply(
        np.array([cos(part.yaw / 2), 0.0, 0.0, sin(part.yaw / 2)]),
        np.array([cos(part.tilt / 2), 0.0, sin(part.tilt / 2), 0.0]),
    )
    half = np.array(part.half_mm) / 1000
    shape = {
        "type": part.kind,
        "pos": _numbers(_rotate(_UP[spec.up], part.centre_mm) / 1000),
        "quat": _numbers(_multiply(_UP[spec.up], turn)),
    }
    if part.kind == "lathe":
        shape |= {"type": "mesh", "mesh": _mesh(asset, part)}
    else:
        shape["size"] = _numbers(half if part.kind == "box" else (half[0], half[2]))
    if part.collides:
        ET.SubElement(body, "geom", shape | _contact(spec.contact))
    if part.rgb is not None:
        ET.SubElement(body, "geom", shape | {
            "group": "1", "contype": "0", "conaffinity": "0", "mass": "0", "rgba": _numbers((*part.rgb, 1.0)),
        })


def _contact(contact: Contact) -> dict[str, str]:
    """Attributes of a geom that collides and is not seen."""
    return {
        "group": "0", "friction": contact.friction, "solref": contact.solref, "solimp": contact.solimp, "condim": "3",
        "rgba": "0.5 0.5 0.5 0", **dict(contact.extra),
    }


def _mesh(asset: ET.Element, part: Part) -> str:
    """Append the mesh of a surface of revolution and return its name."""
    vertices, faces = revolve(part.outline, part.facets)
    name = f"lathe{len(asset)}"
    ET.SubElement(asset, "mesh", {
        "name": name, "vertex": _numbers(vertices.ravel() / 1000), "face": " ".join(map(str, faces.ravel()))})
    return name


def _site(parent: ET.Element, name: str, pos, size, quat=UPRIGHT, kind="box", rgba=(0.0, 0.0, 0.0, 0.0)) -> None:
    ET.SubElement(parent, "site", {
        "name": name, "pos": _numbers(pos), "quat": _numbers(quat), "size": _numbers(size), "type": kind,
        "rgba": _numbers(rgba),
    })


def _region(parent: ET.Element, region: Region) -> None:
    centre, half = np.array(region.centre_mm) / 1000, np.array(region.half_mm) / 1000
    _site(parent, region.name, centre, half, region.quat, region.kind, region.rgba)


def _inertial(parent: ET.Element, inertia: Inertia) -> None:
    ET.SubElement(parent, "inertial", {
        "pos": _numbers(np.array(inertia.com_mm) / 1000), "quat": _numbers(inertia.quat),
        "mass": f"{inertia.mass_kg:.6g}", "diaginertia": _numbers(inertia.principal),
    })


def _joint(parent: ET.Element, joint: Joint) -> None:
    ET.SubElement(parent, "joint", {
        "name": joint.name, "type": joint.kind, "axis": _numbers(joint.axis), "limited": "true",
        "range": _numbers(joint.limits), "damping": _numbers((joint.damping,)),
    })


def _add_body(parent: ET.Element, child: Body, spec: ObjectSpec, asset: ET.Element) -> None:
    """Append a body and everything below it."""
    body = ET.SubElement(parent, "body", {
        "name": child.name, "pos": _numbers(np.array(child.centre_mm) / 1000), "quat": _numbers(child.quat)})
    if child.inertia:
        _inertial(body, child.inertia)
    if child.joint:
        _joint(body, child.joint)
    for part in child.parts:
        _add_part(body, part, spec, asset)
    for region in child.regions:
        _region(body, region)
    for below in child.bodies:
        _add_body(body, below, spec, asset)


def object_xml(name: str, spec: ObjectSpec) -> str:
    """The MJCF text of one object."""
    root = ET.Element("mujoco", {"model": name})
    asset = ET.SubElement(root, "asset")
    wrapper = ET.SubElement(ET.SubElement(root, "worldbody"), "body")
    inertia = Inertia(spec.mass_kg, spec.com_mm, spec.inertia_quat, spec.inertia) if spec.mass_kg else None
    _add_body(wrapper, Body("object", spec.parts, inertia, None, spec.regions, spec.bodies), spec, asset)
    _site(wrapper, "bottom_site", (0, 0, spec.bottom_m), (0.005, 0.005, 0.005))
    _site(wrapper, "top_site", (0, 0, spec.top_m), (0.005, 0.005, 0.005))
    _site(wrapper, "horizontal_radius_site", (spec.radius_m, 0, 0), (0.005, 0.005, 0.005))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")
