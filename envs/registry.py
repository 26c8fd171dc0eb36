"""Which suites there are: one literal table, name -> the module that serves it and what it needs.

Nothing is imported until a suite is opened, so an unknown name costs nothing. Every suite module has the functions of
`SuiteModule`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from envs.types import Environment, TaskError, TaskSpec, is_index


class SuiteModule(Protocol):
    """What a module that serves suites must offer."""

    def tasks(self, suite: str) -> Sequence[TaskSpec]:
        """The tasks of `suite` in their official order, without starting a simulator."""

    def open_task(self, suite: str, index: int, image_size: int, assets: str, privileged: bool, stepping: str
                  ) -> Environment:
        """Open task `index`; images are uint8[image_size, image_size, 3]."""

    def assets_stamp(self, assets: str) -> Mapping[str, Any]:
        """`{"kind", "digest", ...}`: what the scenes are made of; runs with other stamps are never compared."""

    def assets_folder(self, assets: str) -> Path | None:
        """Where the asset files are, built first if need be; None for a suite without files."""


@dataclass(frozen=True)
class SuiteEntry:
    """One suite of the table."""

    module: str
    """Dotted name of the `SuiteModule` that serves it."""
    assets: tuple[str, ...]
    """Legal asset packs, the default first; ("none",) for a suite that needs no files."""
    stepping: tuple[str, ...]
    """Legal ways to compute the physics, the default first; ("none",) for a suite without a choice."""
    preflight: str | None
    """"module:function" that takes `any_mujoco` and gives the renderer, or raises; None if nothing can lack."""
    needs: str
    """What must be on the machine, in words."""


_LIBERO = SuiteEntry(
    "envs.libero.env", ("builtin", "official"), ("fast", "exact"), "envs.libero.preflight:preflight",
    "mujoco 3.2.3, robosuite 1.4.0 and hf-libero 0.1.4; EGL or OSMesa to render")

SUITES: Mapping[str, SuiteEntry] = {
    "libero_spatial": _LIBERO,
    "libero_object": _LIBERO,
    "libero_goal": _LIBERO,
    "libero_10": _LIBERO,
    "libero_90": _LIBERO,
    "toy": SuiteEntry("envs.toy", ("none",), ("none",), None, "nothing: a numpy world for tests of the harness"),
}
"""Suite name -> entry."""

ALIASES: Mapping[str, str] = {"libero_long": "libero_10"}
"""What papers call a suite -> its name here, which is LIBERO's own. Keys, records and files have that name alone."""


def suite_name(name: str) -> str:
    """The one name of the suite that `name` means; an unknown name is given back as it is."""
    return ALIASES.get(name, name)


def unknown_suite(name: str) -> str:
    """The sentence that answers an unknown suite."""
    legal = [*SUITES, *ALIASES]
    near = difflib.get_close_matches(name, legal, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"unknown suite {name!r};{hint} legal: {', '.join(legal)}"


def find_task(suite: str, index: int) -> tuple[SuiteModule, TaskSpec]:
    """Task `index` of `suite` and the module that opens it; raises `TaskError` naming what is legal."""
    name = suite_name(suite)
    if name not in SUITES:
        raise TaskError(unknown_suite(suite))
    module = import_module(SUITES[name].module)
    found = module.tasks(name)
    if not is_index(index, len(found)):
        raise TaskError(f"suite {suite!r} has tasks 0..{len(found) - 1}, got {index!r}")
    return module, found[index]
