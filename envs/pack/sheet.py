"""A contact sheet of every object of the built-in pack, for a person to look at.

    python -m envs.pack.sheet docs/builtin_pack.png
"""

from __future__ import annotations

import argparse
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from PIL import Image, ImageDraw

from envs.pack.mjcf import object_xml
from envs.pack.spec import ObjectSpec
from envs.pack.table import OBJECTS

TILE_PX, COLUMNS = 200, 7

_STAND = {"z": "1 0 0 0", "y": "0.70711 0.70711 0 0"}
"""Rotation that puts an object on its feet, by the axis that points up at rest."""

_OPEN = {"top_level": -0.1, "microjoint": -0.7}
"""Joint values that show what an object can do."""


_AZIMUTH_DEG = {"moka_pot": 160.0, "desk_caddy": -20.0, "white_yellow_mug": 115.0, "red_coffee_mug": 115.0}
"""Camera angle where the usual one, a little right of the front (-y), hides what makes an object what it is."""


def portrait(name: str, spec: ObjectSpec, size: int = TILE_PX) -> np.ndarray:
    """uint8[size, size, 3]: one object from its front and a little above."""
    import mujoco

    root = ET.fromstring(object_xml(name, spec))
    world = root.find("worldbody")
    world.find("body").set("quat", _STAND[spec.up])
    ET.SubElement(world, "light", {"pos": "0.6 -1 2", "dir": "-0.3 0.5 -1", "directional": "true",
                                   "diffuse": "0.7 0.7 0.7"})
    ET.SubElement(ET.SubElement(root, "visual"), "global", {"offwidth": str(size), "offheight": str(size)})
    ET.SubElement(root.find("asset"), "texture", {
        "type": "skybox", "builtin": "flat",
        "rgb1": "0.66 0.72 0.78", "rgb2": "0.66 0.72 0.78", "width": "16", "height": "16"})
    model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
    data = mujoco.MjData(model)
    for joint, value in _OPEN.items():
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, joint) >= 0:
            data.joint(joint).qpos = value
    mujoco.mj_forward(model, data)
    options = mujoco.MjvOption()
    options.geomgroup[:] = 0
    options.geomgroup[1] = 1
    seen = [i for i in range(model.ngeom) if model.geom_group[i] == 1]
    turns = np.abs(data.geom_xmat[seen].reshape(-1, 3, 3))
    reach = (turns @ model.geom_aabb[seen, 3:, None])[..., 0]
    low, high = (data.geom_xpos[seen] - reach).min(0), (data.geom_xpos[seen] + reach).max(0)
    camera = mujoco.MjvCamera()
    camera.lookat[:] = (low + high) / 2
    camera.distance = 1.25 * float(np.linalg.norm(high - low))
    camera.azimuth, camera.elevation = _AZIMUTH_DEG.get(name, 62.0), -28.0
    with mujoco.Renderer(model, size, size) as renderer:
        renderer.update_scene(data, camera, options)
        return renderer.render().copy()


def sheet() -> np.ndarray:
    """uint8[H, W, 3]: every object with its name, not to one scale."""
    rows = -(-len(OBJECTS) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * TILE_PX, rows * (TILE_PX + 16)), "white")
    pen = ImageDraw.Draw(page)
    for k, (name, spec) in enumerate(OBJECTS.items()):
        x, y = k % COLUMNS * TILE_PX, k // COLUMNS * (TILE_PX + 16)
        page.paste(Image.fromarray(portrait(name, spec)), (x, y))
        pen.text((x + 4, y + TILE_PX + 2), name, fill="black")
    return np.asarray(page)


def main(argv: list[str] | None = None) -> int:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="PNG file to write")
    os.environ.setdefault("MUJOCO_GL", "egl")
    out = parser.parse_args(argv).out
    out.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(out, sheet())
    return 0


if __name__ == "__main__":
    sys.exit(main())
