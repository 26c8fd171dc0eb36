"""The import arrows of CONTRIBUTING.md, the size budget, and that asking for help costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("bench", "envs", "policies", "quantizers", "reports")
ALLOWED = {
    "quantizers": ("quantizers",),
    "envs": ("envs",),
    "policies": ("policies", "envs.types", "quantizers"),
    "bench": ("bench", "envs", "policies", "quantizers", "reports"),
    "reports": ("reports",),
}
"""Package -> prefixes of our modules that it may import."""
FORBIDDEN = {
    "reports": ("torch", "transformers", "mujoco", "robosuite", "libero"),
    "quantizers": ("mujoco", "robosuite", "libero"),
    "envs": ("torch", "transformers"),
}
"""Package -> other people's modules that it may not import."""
MAX_LINES = 300

MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Dotted names of every import of a module, also of those inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import on line {node.lineno}; name the package"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    package = path.relative_to(ROOT).parts[0]
    ours = {name for name in imports(path) if within(name, PACKAGES)}
    # `from envs import types` shows up as "envs" and "envs.types"; the shorter name alone says nothing.
    wrong = {name for name in ours if not within(name, ALLOWED[package])
             and not any(allowed.startswith(name + ".") for allowed in ALLOWED[package])}
    assert not wrong, f"{package} may import {ALLOWED[package]} of ours"
    assert not {name for name in imports(path) if within(name, FORBIDDEN.get(package, ()))}


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_package_files_are_empty(path):
    assert path.read_text() == ""


def test_every_package_folder_has_its_file():
    assert {path.parent for path in MODULES} == {path.parent for path in MODULES if path.name == "__init__.py"}


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_help_and_unknown_names_import_neither_torch_nor_a_simulator():
    program = (
        "import sys, bench.cli\n"
        "try: bench.cli.main(['bench', '--help'])\n"
        "except SystemExit: pass\n"
        "assert bench.cli.main(['bench', '--suite', 'toi']) == 2\n"
        "heavy = {'torch', 'mujoco', 'robosuite', 'libero', 'transformers', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n")
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
