"""What a process needs before LIBERO starts."""

from __future__ import annotations

import os

import pytest

from envs.libero import process
from envs.types import PreflightError


def test_another_mujoco_is_refused_unless_allowed(monkeypatch):
    monkeypatch.setattr(process, "version", lambda name: "3.8.1")
    with pytest.raises(PreflightError, match=r"MuJoCo 3\.8\.1 is installed, legal is 3\.2\.3"):
        process.check_mujoco()
    assert process.check_mujoco(allow_other=True) == "3.8.1"


def test_without_a_renderer_the_debian_packages_are_named(monkeypatch):
    monkeypatch.setattr(process, "_PROBE", "raise SystemExit('no such library')")
    with pytest.raises(PreflightError, match="no such library.*apt-get install libegl1"):
        process.drawing.__wrapped__()


def test_the_scratch_folder_is_private_or_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(process.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = process._scratch()
    assert folder.stat().st_mode & 0o777 == 0o700 and process._scratch() == folder
    os.chmod(folder, 0o777)
    with pytest.raises(PreflightError, match="mode 0700"):
        process._scratch()


def test_mujoco_imported_too_early_is_an_error_with_the_next_step(monkeypatch):
    monkeypatch.setitem(process.sys.modules, "mujoco", object())
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    with pytest.raises(PreflightError, match="open the environment first, or set MUJOCO_GL=egl"):
        process.prepare_to_draw.__wrapped__()
