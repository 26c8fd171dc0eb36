"""Whether this machine can do what it is asked for, found out before the first episode."""

from __future__ import annotations

import importlib

from bench.errors import lookup
from bench.timing.probe import devices, open_probe
from envs.registry import SUITES
from envs.types import EnvironmentError_


def preflight(suite: str, any_mujoco: bool) -> str | None:
    """What will render `suite`, None if nothing does; raises `PreflightError` if the machine lacks something."""
    target = lookup("suite", suite, SUITES).preflight
    if target is None:
        return None
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)(any_mujoco)


def check_all(any_mujoco: bool) -> tuple[list[str], bool]:
    """A line per suite and per device, and whether all suites can run."""
    lines, fine = [], True
    for suite in SUITES:
        try:
            renderer = preflight(suite, any_mujoco)
            lines.append(f"ok      suite {suite}, " + (f"renders with {renderer}" if renderer else "needs no renderer"))
        except EnvironmentError_ as error:
            lines.append(f"FAILED  suite {suite}: {error}")
            fine = False
    for device in devices():
        reason = open_probe(device).unavailable()
        lines.append(f"ok      device {device}" if reason is None else f"absent  device {device}: {reason}")
    return lines, fine
