"""What this machine needs before LIBERO starts, checked in seconds and answered with the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from envs.libero.process import check_mujoco, drawing, package_folder
from envs.types import PreflightError

PINS: Mapping[str, str] = {"robosuite": "1.4.0", "hf-libero": "0.1.4", "bddl": "1.0.1"}
"""Package -> the one version whose scenes, controllers and goals the suites are; MuJoCo has a check of its own."""


def preflight(any_mujoco: bool) -> str:
    """What will draw: the backend and the renderer's own name.

    Raises `PreflightError` for a missing package, another version than the pinned one, or no renderer.
    """
    package_folder()
    check_mujoco(any_mujoco)
    for package, pinned in PINS.items():
        try:
            installed = version(package)
        except PackageNotFoundError as error:
            raise PreflightError(f"{package} is not installed; run: pip install --no-deps {package}=={pinned}"
                                 ) from error
        if installed != pinned:
            raise PreflightError(f"{package} {installed} is installed, legal is {pinned}: other releases are other "
                                 f"suites. Run: pip install --no-deps {package}=={pinned}")
    return ": ".join(drawing())
