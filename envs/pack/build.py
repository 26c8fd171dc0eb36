"""Write the built-in asset pack into a folder: objects, scenes, textures, and a lean look for the robot.

`ensure(root)` builds once and returns the folder; the name carries a digest of everything that shapes the pack, so an
edited table never meets an old build. The pack has the same file, body, joint and site names as LIBERO's own tree.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import imageio.v3 as imageio

from envs.pack.mjcf import floor_scene_xml, object_xml
from envs.pack.robot import lean_meshes
from envs.pack.table import OBJECTS
from envs.pack.textures import TEXTURES

_SOURCES = ("build.py", "mjcf.py", "robot.py", "shapes.py", "table.py", "textures.py")


def digest() -> str:
    """Hex SHA-256 over the sources of the pack."""
    sha = hashlib.sha256()
    for name in _SOURCES:
        sha.update((Path(__file__).parent / name).read_bytes())
    return sha.hexdigest()


def ensure(root: Path) -> Path:
    """Return the absolute folder of the built pack under `root`, building it first if it is not there."""
    target = root.resolve() / f"builtin-{digest()[:12]}"
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    # Built aside and renamed, so that a killed build or a second process never leaves half a pack.
    scratch = Path(tempfile.mkdtemp(prefix="building-", dir=root))
    try:
        _write(scratch)
        scratch.chmod(0o755)
        try:
            os.rename(scratch, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _write(folder: Path) -> None:
    for name, spec in OBJECTS.items():
        path = folder / spec.folder / name / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(object_xml(name, spec))
    for sub in ("scenes", "textures", "articulated_objects", "turbosquid_objects"):
        (folder / sub).mkdir()
    (folder / "scenes" / "libero_floor_base_style.xml").write_text(floor_scene_xml())
    for name, draw in TEXTURES.items():
        imageio.imwrite(folder / "textures" / name, draw())
    lean_meshes(folder / "robot")
