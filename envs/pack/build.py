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

from envs.pack.mjcf import object_xml
from envs.pack.scenes import SCENES
from envs.pack.spec import ARTICULATED
from envs.pack.table import OBJECTS
from envs.pack.textures import TEXTURES

_SOURCES = ("build.py", "lathe.py", "mjcf.py", "palette.py", "robot.py", "scenes.py", "shapes.py", "spec.py",
            "table.py", "table_articulated.py", "table_food.py", "table_furniture.py", "table_kitchenware.py",
            "textures.py")


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
    # A pack that is there needs neither of them, and they take longer to import than an episode to start.
    import imageio.v3 as imageio

    from envs.pack.robot import lean_meshes

    for name, spec in OBJECTS.items():
        # Articulated objects lie flat in their folder, all others in one of their own.
        path = folder / spec.folder / ("" if spec.folder == ARTICULATED else name) / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(object_xml(name, spec))
    for sub in ("scenes", "textures"):
        (folder / sub).mkdir()
    for name, write in SCENES.items():
        (folder / "scenes" / f"{name}.xml").write_text(write())
    for name, draw in TEXTURES.items():
        imageio.imwrite(folder / "textures" / name, draw())
    lean_meshes(folder / "robot")
