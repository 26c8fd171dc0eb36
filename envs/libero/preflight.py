"""What this machine needs before LIBERO starts, checked in seconds and answered with the remedy."""

from __future__ import annotations

from envs.libero.process import check_mujoco, package_folder, renderer


def preflight(any_mujoco: bool) -> str:
    """The renderer that will draw. Raises `PreflightError` for a missing package, another MuJoCo, or no renderer."""
    package_folder()
    check_mujoco(any_mujoco)
    return renderer()
