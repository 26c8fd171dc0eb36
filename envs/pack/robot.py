"""A lean look for the robot and the scene: robosuite's visual meshes with a fiftieth of their faces, no antialiasing.

With software rendering the arm's 135-168 thousand visual faces are most of the cost of an image. The collision meshes,
masses and joints stay robosuite's own. The reduced meshes are made on this machine from the installed robosuite
(quadric edge collapse, fast-simplification) when the pack is built; none is shipped.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import trimesh

KEEP = 0.02
"""Share of the faces that is kept of a visual mesh."""

LEAST_FACES = 40
"""A mesh is never reduced below this: small shells fall apart."""

MULTISAMPLES = 0
"""Samples a pixel in images for policies. MuJoCo's four take more than half of the time of an image in software."""

TESSELLATION = {"numslices": "20", "numstacks": "6", "numquads": "2"}
"""Facets of cylinders and boxes; MuJoCo's 28, 16 and 4 give a can a thousand of them, most of a scene's faces."""


def _asset_root() -> Path:
    """Folder of robosuite's MJCF assets, found without importing robosuite."""
    return Path(find_spec("robosuite").submodule_search_locations[0]) / "models" / "assets"


def _visual_files() -> list[Path]:
    """Mesh files that only visual geoms of the arm, the gripper and the mounts use."""
    root = _asset_root()
    files: list[Path] = []
    for xml in ("robots/panda/robot.xml", "grippers/panda_gripper.xml", "mounts/rethink_mount.xml"):
        tree = ET.parse(root / xml)
        used = {True: set(), False: set()}
        for geom in tree.iter("geom"):
            if geom.get("mesh"):
                used[geom.get("group") == "1"].add(geom.get("mesh"))
        for mesh in tree.iter("mesh"):
            if mesh.get("name") in used[True] - used[False]:
                files.append((root / xml).parent / mesh.get("file"))
    return files


def lean_meshes(folder: Path) -> None:
    """Write a reduced copy of every visual mesh under `folder`, by its path below robosuite's assets."""
    for source in _visual_files():
        mesh = trimesh.load(source, force="mesh", process=True)
        # Vertices that differ in their normals only must be one, or every face is an island that collapses alone.
        mesh.merge_vertices(merge_norm=True, merge_tex=True)
        wanted = max(LEAST_FACES, int(KEEP * len(mesh.faces)))
        if len(mesh.faces) > wanted:
            mesh = mesh.simplify_quadric_decimation(face_count=wanted)
        target = folder / source.resolve().relative_to(_asset_root().resolve()).with_suffix(".stl")
        target.parent.mkdir(parents=True, exist_ok=True)
        mesh.export(target)


def use_lean_look(xml: str, pack: Path) -> str:
    """Point the visual meshes of a merged robosuite model at their reduced copies in `pack`; set `MULTISAMPLES`."""
    root = ET.fromstring(xml)
    assets = _asset_root().resolve()
    for mesh in root.iter("mesh"):
        file = Path(mesh.get("file", ""))
        if file.is_absolute() and file.is_relative_to(assets):
            lean = (pack / "robot" / file.relative_to(assets)).with_suffix(".stl")
            if lean.is_file():
                mesh.set("file", str(lean))
    visual = root.find("visual")
    visual = ET.SubElement(root, "visual") if visual is None else visual
    quality = visual.find("quality")
    quality = ET.SubElement(visual, "quality") if quality is None else quality
    quality.attrib |= {"offsamples": str(MULTISAMPLES), **TESSELLATION}
    return ET.tostring(root, encoding="unicode")
