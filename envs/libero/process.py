"""What LIBERO, robosuite and MuJoCo demand of a process before they are imported; nothing is written under HOME.

Everything global that a simulator wants is set here, in `prepare`, once: the renderer, LIBERO's configuration file (its
import would otherwise ask on standard input), its asset folder, and where matplotlib and numba keep their caches.
"""

from __future__ import annotations

import functools
import logging
import os
import stat
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from envs.types import AssetsError, PreflightError

MUJOCO_VERSION = "3.2.3"
"""From 3.3.3 on LIBERO's scenes look and behave differently (LIBERO issue 88, lerobot issue 4390)."""

_PROBE = ("import mujoco; c = mujoco.GLContext(8, 8); c.make_current(); from OpenGL import GL; "
          "print((GL.glGetString(GL.GL_RENDERER) or b'unnamed').decode()); c.free()")


def package_folder() -> Path:
    """Folder of the installed `libero.libero` package, found without importing it."""
    spec = find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        raise PreflightError("LIBERO is not installed; run: pip install --no-deps hf-libero==0.1.4")
    return Path(list(spec.submodule_search_locations)[0]) / "libero"


def renderer() -> str:
    """The OpenGL backend to use; see `drawing`."""
    return drawing()[0]


@functools.cache
def drawing() -> tuple[str, str]:
    """The OpenGL backend to use and the name of what draws: MUJOCO_GL if it is set, else "egl", else "osmesa".

    Each is tried in a child process. Raises `PreflightError` naming the Debian packages if none can draw.
    """
    wanted = os.environ.get("MUJOCO_GL")
    reasons = []
    for backend in (wanted,) if wanted else ("egl", "osmesa"):
        child = subprocess.run(
            [sys.executable, "-c", _PROBE], env=os.environ | {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend},
            capture_output=True, text=True,
        )
        if child.returncode == 0:
            return backend, (child.stdout.strip().splitlines() or ["unnamed"])[-1]
        reasons.append(f"{backend}: {child.stderr.strip().splitlines()[-1] if child.stderr.strip() else 'crashed'}")
    raise PreflightError(
        "no off-screen renderer works (" + "; ".join(reasons) + "). On Debian or Ubuntu: "
        "apt-get install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libgles2 (EGL) or libosmesa6 (OSMesa)"
    )


def check_mujoco(allow_other: bool = False) -> str:
    """Return the installed MuJoCo version; raise `PreflightError` if it is not the one LIBERO's scenes need."""
    # Importing it would fix the OpenGL backend before `prepare` has chosen one.
    installed = version("mujoco")
    if installed != MUJOCO_VERSION and not allow_other:
        raise PreflightError(
            f"MuJoCo {installed} is installed, legal is {MUJOCO_VERSION}: later releases change LIBERO's scenes. "
            f"Install mujoco=={MUJOCO_VERSION}, or allow the other version with --any-mujoco; the record will say so."
        )
    return installed


def _scratch() -> Path:
    """This user's folder for what can be made again at any time; compiled code is loaded from it, so it is private.

    Raises `PreflightError` if somebody else owns it or may write to it.
    """
    folder = Path(tempfile.gettempdir()) / f"qvla-bench-simulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PreflightError(f"{folder} must be a folder that only this user can use (mode 0700); remove it")
    return folder


@functools.cache
def prepare_to_draw() -> None:
    """Choose the renderer and where compiled kernels are kept; must run before MuJoCo or numba is imported.

    The choice is remembered until the machine restarts, because trying a renderer takes a second. Raises
    `PreflightError` if MuJoCo was imported before without MUJOCO_GL: it has settled on a window by then.
    """
    if "mujoco" in sys.modules and not os.environ.get("MUJOCO_GL"):
        raise PreflightError(
            "MuJoCo was imported before the renderer was chosen; open the environment first, or set MUJOCO_GL=egl"
        )
    os.environ.setdefault("NUMBA_CACHE_DIR", str(_scratch() / "numba"))
    remembered = _scratch() / f"renderer-{version('mujoco')}-{os.environ.get('MUJOCO_GL', 'any')}"
    if not remembered.is_file():
        remembered.parent.mkdir(parents=True, exist_ok=True)
        partial = remembered.with_suffix(f".{os.getpid()}")
        partial.write_text(renderer())
        partial.replace(remembered)
    os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = remembered.read_text()


@functools.cache
def hear_warnings() -> None:
    """Hand MuJoCo's warnings to `logging`. Left to itself, it appends them to a file in the working directory."""
    import mujoco

    mujoco.set_mju_user_warning(logging.getLogger("mujoco").warning)


@functools.cache
def prepare(assets: Path) -> None:
    """Set up this process for LIBERO with the asset folder `assets`; a second call must name the same folder."""
    if prepare.cache_info().misses > 1:
        raise AssetsError(f"this process already runs LIBERO on another asset folder than {assets}")
    prepare_to_draw()
    scratch = _scratch()
    config = scratch / "libero"
    config.mkdir(parents=True, exist_ok=True)
    root = package_folder()
    folders = {
        "benchmark_root": root, "bddl_files": root / "bddl_files", "init_states": root / "init_files",
        "datasets": scratch / "datasets", "assets": assets,
    }
    text = "".join(f"{key}: {value}\n" for key, value in folders.items())
    partial = config / f"config.yaml.{os.getpid()}"
    partial.write_text(text)
    partial.replace(config / "config.yaml")
    os.environ["LIBERO_CONFIG_PATH"] = str(config)
    os.environ.setdefault("MPLCONFIGDIR", str(scratch / "matplotlib"))
    logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
    import libero.libero

    # LIBERO's models look nowhere else once this is set; the `assets` key of its own configuration is not read.
    libero.libero._assets_path_cache = str(assets)
    hear_warnings()
