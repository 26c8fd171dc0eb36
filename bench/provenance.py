"""Where and with what a run is made: machine, packages, commit."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "mujoco", "robosuite", "hf-libero", "bddl", "transformers", "opencv-python")
"""Packages whose version can change a result."""

SOURCES = ("bench", "envs", "policies", "quantizers")
"""Packages of this project from which results follow."""

SOURCE_SUFFIXES = (".py", ".c", ".cpp", ".h")
"""Files of them that are code."""


def machine() -> dict[str, Any]:
    """System, processor, CPUs that this process may use, memory."""
    return {
        "system": platform.platform(), "python": platform.python_version(), "cpu": _cpu_model(),
        "cpus": usable_cpus(), "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def packages() -> dict[str, str]:
    """Version of each of `PACKAGES` that is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # a suite or policy that needs it says so itself
    return found


def code(root: Path) -> dict[str, str]:
    """Package of this project below `root` -> digest of every source file from which results follow.

    Reports are not among them: they are functions of the records, and may be written again by any release.
    """
    digests = {}
    for name in SOURCES:
        digest = hashlib.sha256()
        for path in sorted(p for p in (root / name).rglob("*") if p.suffix in SOURCE_SUFFIXES):
            digest.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        digests[name] = digest.hexdigest()[:16]
    return digests


def commit(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout at `root` and whether tracked files differ from it; (None, None) if it is no checkout."""
    if not (root / ".git").exists():
        return None, None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(root: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True, text=True).stdout.strip()


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
