"""A compiled task on disk: with it, an episode needs MuJoCo, numpy and numba, and neither robosuite nor LIBERO.

A bundle is a folder with MuJoCo's binary model, the facts of the scene (JSON), and arrays: what the controller
remembers of a reset, and the official init states. Its name says what it was made from, so another version of MuJoCo,
robosuite, LIBERO or of the assets never meets it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from envs.libero.facts import Light, SceneFacts, Thing
from envs.libero.goal import from_json, to_json
from envs.types import AssetsError, TaskSpec

FORMAT = 1
"""Counts up when what is saved changes."""
SOURCES = ("mujoco", "robosuite", "hf-libero")
"""Packages that shape a compiled scene."""


@dataclass(frozen=True)
class Bundle:
    """What a scene is made of."""

    model: Any
    """The compiled `mujoco.MjModel`."""
    facts: SceneFacts
    """Its bodies, goal and fixtures by number."""
    start: Mapping[str, np.ndarray]
    """Fields of the `ControllerState` after a reset."""
    states: np.ndarray
    """float64[50, 1 + nq + nv]: time, positions and velocities of each official init state."""
    folder: Path
    """Where it is stored."""


def bundle_folder(task: TaskSpec, bundles: Path, lean: bool) -> Path:
    """Where the bundle of `task` belongs, below the folder of all bundles from the same assets."""
    made_from = {"format": FORMAT, "lean": lean, **{package: version(package) for package in SOURCES}}
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:12]
    return bundles / f"{task.suite}-{task.index}-{digest}"


def save(folder: Path, model, facts: SceneFacts, start: Mapping[str, np.ndarray], states: np.ndarray) -> None:
    """Write a bundle; the folder appears whole or not at all. One that another process wrote meanwhile is kept."""
    import mujoco

    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    try:
        mujoco.mj_saveModel(model, str(scratch / "model.mjb"))
        (scratch / "facts.json").write_text(json.dumps(_facts_to_json(facts)))
        np.savez(scratch / "arrays.npz", states=states, **{f"start_{name}": value for name, value in start.items()})
        scratch.chmod(0o755)
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def load(folder: Path) -> Bundle:
    """Read the bundle in `folder`. Raises `AssetsError` naming the file that cannot be read, and what to delete."""
    import mujoco

    path = folder / "arrays.npz"
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            start = {name.removeprefix("start_"): arrays[name] for name in arrays if name.startswith("start_")}
            states = arrays["states"]
        path = folder / "facts.json"
        facts = _facts_from_json(json.loads(path.read_text()))
        path = folder / "model.mjb"
        model = mujoco.MjModel.from_binary_path(str(path))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise AssetsError(f"the scene bundle is broken: {path} cannot be read ({type(error).__name__}: {error}); "
                          f"delete {folder}, and it is compiled again") from error
    if states.ndim != 2 or states.shape[1] != 1 + model.nq + model.nv:
        raise AssetsError(f"the scene bundle is broken: its init states have shape {states.shape}, legal is (states, "
                          f"{1 + model.nq + model.nv}); delete {folder}, and it is compiled again")
    return Bundle(model, facts, start, states, folder)


def _facts_to_json(facts: SceneFacts) -> dict[str, Any]:
    plain = dict(vars(facts))
    for name in ("objects", "fixtures"):
        plain[name] = {instance: vars(thing) for instance, thing in plain[name].items()}
    plain["goal"] = [to_json(condition) for condition in facts.goal]
    plain["lights"] = [{"site": light.site, "when": to_json(light.when)} for light in facts.lights]
    return plain


def _facts_from_json(plain: dict[str, Any]) -> SceneFacts:
    things = {
        name: {instance: Thing(t["body"], tuple(t["geoms"])) for instance, t in plain[name].items()}
        for name in ("objects", "fixtures")
    }
    return SceneFacts(
        **things, interest=tuple(plain["interest"]), goal=tuple(from_json(c) for c in plain["goal"]),
        lights=tuple(Light(light["site"], from_json(light["when"])) for light in plain["lights"]),
        hand_site=plain["hand_site"], hand_body=plain["hand_body"], fingers=tuple(plain["fingers"]),
        pads=tuple(tuple(pad) for pad in plain["pads"]),
    )
