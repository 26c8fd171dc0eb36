"""The tasks of a LIBERO suite and their official init states, read from the installed package without the simulator."""

from __future__ import annotations

import functools
import importlib.util
import io
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np

from envs.libero.process import package_folder
from envs.registry import suite_name, unknown_suite
from envs.types import InitStateError, TaskError, TaskSpec, is_index

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")
"""Suites that the built-in pack can show."""

INIT_STATES = 50
"""Official init states of every task."""

_SCENE = re.compile(r"[A-Z_]+_SCENE\d+_")
"""What the long suites put before the instruction in a task's name, e.g. "KITCHEN_SCENE10_"."""


@functools.cache
def _task_names() -> dict[str, list[str]]:
    # LIBERO keeps the table in a package whose import loads torch; the table's own file needs nothing.
    path = package_folder() / "benchmark" / "libero_suite_task_map.py"
    spec = importlib.util.spec_from_file_location("libero_suite_task_map", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.libero_task_map


def tasks(suite: str) -> list[TaskSpec]:
    """The tasks of `suite` in the official order (task order 0). Raises `TaskError` for an unknown suite."""
    known = suite_name(suite)
    if known not in SUITES:
        raise TaskError(unknown_suite(suite))
    return [
        TaskSpec(known, index, name, _SCENE.sub("", name).replace("_", " "), INIT_STATES)
        for index, name in enumerate(_task_names()[known])
    ]


def bddl_file(task: TaskSpec) -> Path:
    """The task's problem file."""
    return package_folder() / "bddl_files" / task.suite / f"{task.name}.bddl"


def check_init_state(task: TaskSpec, index: int | None, count: int) -> None:
    """Raise `InitStateError` unless `index` is None or one of `count` official init states."""
    if index is not None and not is_index(index, count):
        raise InitStateError(f"{task.name} has no init state {index!r}, legal are 0 .. {count - 1}")


def init_states(task: TaskSpec, width: int | None = None) -> np.ndarray:
    """float64[50, 1 + nq + nv]: time, positions and velocities of each official init state.

    `width` is the 1 + nq + nv of the compiled scene, if there is one. The files are torch archives around one pickled
    numpy array, so numpy alone can read them. Raises `InitStateError` if the file is not such an archive, or does not
    fit the scene.
    """
    path = package_folder() / "init_files" / task.suite / f"{task.name}.pruned_init"
    try:
        with zipfile.ZipFile(path) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
            states = np.asarray(pickle.load(io.BytesIO(archive.read(member))), dtype=np.float64)
    except Exception as error:  # a damaged pickle can raise anything
        raise InitStateError(f"cannot read the init states in {path} ({type(error).__name__}: {error}); {_AGAIN}"
                             ) from error
    wanted = "1 + nq + nv" if width is None else width
    if states.ndim != 2 or not len(states) or (width is not None and states.shape[1] != width):
        raise InitStateError(f"{path} holds an array of shape {states.shape}, legal is (states, {wanted}); {_AGAIN}")
    if not np.isfinite(states).all():
        row, column = np.argwhere(~np.isfinite(states))[0]
        raise InitStateError(f"{path} holds {states[row, column]} in init state {row}, legal are finite numbers; "
                             f"{_AGAIN}")
    return states


_AGAIN = "install LIBERO's files again: pip install --force-reinstall --no-deps hf-libero==0.1.4"
"""The mend of an init file that is damaged."""
