"""Whether this machine can do what it is asked for, found out before the first episode.

`examine` looks at everything; `ensure_healthy` is what a run does on its own: the cheap part every time, the running
world only once for every combination of package versions, assets and renderer. What passed is remembered in
`.qvla-bench/doctor.json`; a failure is never remembered.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.checks import Check, text
from bench.folder import write_json
from bench.pool import suite_entry, suite_module
from bench.provenance import packages
from bench.spec import canonical
from bench.timing.probe import devices, open_probe
from bench.variants import package_root
from envs.types import EnvironmentError_, PreflightError

CACHE = Path(".qvla-bench/doctor.json")
"""What passed, below the working directory."""
FREE_BYTES = 2**30
"""A run needs room for traces, observations and films: at least this much must be free."""
TIMEOUT_S = 300
"""After this long the running world is taken to hang; on one slow core it takes a tenth of it."""
REMEMBERED = 50
"""Combinations that are remembered at most."""


@dataclass(frozen=True)
class Circumstances:
    """What a result depends on besides the code, and what the header says of it."""

    renderer: str | None
    """What draws, None if nothing does."""
    assets: Mapping[str, Any]
    """Stamp of the assets."""


def ensure_healthy(suite: str, assets: str, any_mujoco: bool, runs_dir: str, say: Callable[[str], None]
                   ) -> Circumstances:
    """What `suite` will run on, after the checks that have not passed before on this combination.

    Raises `PreflightError` with every failure and its mend, `AssetsError` for assets that are not there.
    """
    found = Circumstances(renderer_of(suite, any_mujoco), suite_module(suite).assets_stamp(assets))
    checks = [_disk(Path(runs_dir))]
    key = _fingerprint(suite, found)
    if key not in _remembered():
        say(f"checking {suite} once for these versions, assets and renderer (a few seconds)")
        checks += _world(suite, assets)
    failed = [check for check in checks if check.state == "FAILED"]
    if failed:
        raise PreflightError("this machine is not ready; `qvla-bench doctor` checks again, --no-doctor goes on "
                             "regardless\n" + text(failed))
    _remember(key, suite, found)
    return found


def examine(suites: tuple[str, ...], assets: str | None, any_mujoco: bool, runs_dir: str) -> list[Check]:
    """Every check of `suites`, on the assets `assets` or each suite's first; what passes is remembered."""
    versions = {"python": platform.python_version(), **packages()}
    checks = [Check("versions", "ok", ", ".join(f"{name} {found}" for name, found in versions.items())),
              _disk(Path(runs_dir)), _arithmetic()]
    for suite in suites:
        checks += _suite(suite, assets or suite_entry(suite).assets[0], any_mujoco)
    for device in devices():
        reason = open_probe(device).unavailable()
        checks.append(Check(f"device {device}", "ok" if reason is None else "absent", reason or "can be timed"))
    return checks


def renderer_of(suite: str, any_mujoco: bool) -> str | None:
    """What will render `suite`, None if nothing does; raises `PreflightError` if the machine lacks something."""
    target = suite_entry(suite).preflight
    if target is None:
        return None
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)(any_mujoco)


def _suite(suite: str, assets: str, any_mujoco: bool) -> list[Check]:
    try:
        renderer = renderer_of(suite, any_mujoco)
    except EnvironmentError_ as error:
        return [Check(f"simulator of {suite}", "FAILED", str(error))]
    checks = [Check(f"simulator of {suite}", "ok", f"draws with {renderer}" if renderer else "draws by itself")]
    try:
        stamp = suite_module(suite).assets_stamp(assets)
    except EnvironmentError_ as error:
        return [*checks, Check(f"assets of {suite}", "FAILED", str(error))]
    checks += [Check(f"assets of {suite}", "ok", f"{stamp['kind']}, {stamp['digest'][:19]}"), *_world(suite, assets)]
    if all(check.state != "FAILED" for check in checks):
        _remember(_fingerprint(suite, Circumstances(renderer, stamp)), suite, Circumstances(renderer, stamp))
    return checks


def _world(suite: str, assets: str) -> list[Check]:
    """The checks of `bench.selftest`, in a process of their own."""
    path = os.pathsep.join(filter(None, [str(package_root()), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "bench.selftest", suite, assets]
    name, other = f"scene of {suite}", "try the other renderer with MUJOCO_GL=osmesa or MUJOCO_GL=egl"
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S,
                               env=os.environ | {"PYTHONPATH": path})
    except subprocess.TimeoutExpired:
        return [Check(name, "FAILED", f"nothing happened for {TIMEOUT_S} s", other)]
    lines = child.stdout.strip().splitlines()
    if child.returncode or not lines:
        last = (child.stderr.strip().splitlines() or ["without a word"])[-1]
        return [Check(name, "FAILED", f"the process ended with code {child.returncode}: {last}", other)]
    return [Check(**check) for check in json.loads(lines[-1])]


def _arithmetic() -> Check:
    """How low-bit layers are multiplied on the CPU; nothing depends on it but their speed."""
    from quantizers import kernel, native  # torch is slow to import

    name, steps = "integer kernels", kernel.why_unavailable()
    if steps is None:
        return Check(name, "ok", f"{kernel.available()[0]}: a low-bit layer is one compiled call")
    tensors = native.why_unavailable()
    if tensors is None:
        return Check(name, "absent", f"{steps}; a low-bit layer is computed in compiled steps, slower")
    return Check(name, "absent", f"{tensors}; a low-bit layer is computed by tensor operations, slower")


def _disk(folder: Path) -> Check:
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    detail = f"{free / 2**30:.1f} GiB free in {there}"
    if free >= FREE_BYTES:
        return Check("disk", "ok", detail)
    return Check("disk", "FAILED", f"{detail}, a run needs {FREE_BYTES / 2**30:.0f} GiB",
                 "free some, or keep runs elsewhere with --runs-dir")


def _fingerprint(suite: str, found: Circumstances) -> str:
    assets = {name: value for name, value in found.assets.items() if name != "folder"}
    identity = {"suite": suite, "assets": assets, "renderer": found.renderer, "python": platform.python_version(),
                "packages": packages()}
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def _remembered() -> dict[str, Any]:
    try:
        return json.loads(CACHE.read_text()) if CACHE.is_file() else {}
    except ValueError:
        return {}  # what cannot be read was not remembered: everything is checked again, and the file written anew


def _remember(key: str, suite: str, found: Circumstances) -> None:
    known = _remembered()
    if key not in known:
        known[key] = {"suite": suite, "renderer": found.renderer, "assets": found.assets["digest"],
                      "passed": datetime.now(UTC).isoformat(timespec="seconds")}
        write_json(CACHE, dict(list(known.items())[-REMEMBERED:]))
