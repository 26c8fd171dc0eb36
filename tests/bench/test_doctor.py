from __future__ import annotations

import json

import pytest

from bench import doctor, selftest
from bench.checks import Check
from bench.cli import main
from envs.types import AssetsError, PreflightError
from quantizers import kernel, native

SCRIPTED = ["bench", "--suite", "toy", "--policy", "toy-scripted", "--threads", "1", "--quiet", "--no-video",
            "--trials", "1", "--tasks", "0"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    path = tmp_path / "cache" / "doctor.json"
    monkeypatch.setattr(doctor, "CACHE", path)
    return path


@pytest.fixture
def worlds(monkeypatch):
    """Suites whose world was checked; it is fine unless `worlds.result` says otherwise."""
    class Worlds(list):
        result = Check("picture of toy", "ok", "fine")

    asked = Worlds()
    monkeypatch.setattr(doctor, "_world", lambda suite, assets: asked.append(suite) or [asked.result])
    return asked


def healthy(tmp_path) -> doctor.Circumstances:
    return doctor.ensure_healthy("toy", "none", False, str(tmp_path / "runs"), lambda line: None)


def test_the_doctor_looks_at_everything_and_is_content(capsys, tmp_path, cache):
    assert main(["doctor", "--suite", "toy", "--runs-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for name in ("versions", "disk", "simulator of toy", "assets of toy", "picture of toy", "episode of toy", "device"):
        assert f" {name}" in out
    assert "toy-scripted succeeded" in out and "FAILED" not in out
    (remembered,) = json.loads(cache.read_text()).values()
    assert remembered["suite"] == "toy"


@pytest.mark.parametrize(("call", "steps", "state", "said"), [
    (None, None, "ok", "one compiled call"), ("no avx2", None, "absent", "no avx2; a low-bit layer is computed in"),
    ("no gcc", "no gcc", "absent", "no gcc; a low-bit layer is computed by tensor operations")])
def test_the_doctor_says_how_layers_are_multiplied(worlds, tmp_path, monkeypatch, call, steps, state, said):
    monkeypatch.setattr(kernel, "why_unavailable", lambda: call)
    monkeypatch.setattr(kernel, "available", lambda: ["avx2.c"])
    monkeypatch.setattr(native, "why_unavailable", lambda: steps)
    (check,) = (check for check in doctor.examine(("toy",), None, False, str(tmp_path)) if "kernels" in check.name)
    assert check.state == state and said in check.detail


def test_a_run_checks_the_world_once_for_the_same_circumstances(worlds, tmp_path, monkeypatch):
    assert healthy(tmp_path) == healthy(tmp_path)
    assert worlds == ["toy"]
    monkeypatch.setattr(doctor, "packages", lambda: {"mujoco": "9"})
    healthy(tmp_path)
    monkeypatch.setattr(doctor, "renderer_of", lambda suite, any_mujoco: "osmesa: another")
    assert healthy(tmp_path).renderer == "osmesa: another"
    assert worlds == ["toy"] * 3


def test_a_failure_stops_the_run_with_its_mend_and_is_not_remembered(worlds, capsys, tmp_path, cache):
    worlds.result = Check("picture of toy", "FAILED", "agentview is mirrored", "try MUJOCO_GL=osmesa")
    arguments = [*SCRIPTED, "--runs-dir", str(tmp_path / "runs")]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "agentview is mirrored" in err and "mend: try MUJOCO_GL=osmesa" in err and "--no-doctor" in err
    assert not cache.exists() and not (tmp_path / "runs").exists()
    assert main([*arguments, "--no-doctor"]) == 0
    header = json.loads(next((tmp_path / "runs").glob("*/header.json")).read_text())
    assert "--no-doctor" in header["args"] and worlds == ["toy"]


def test_the_doctors_exit_code_tells_of_a_failure(worlds, capsys, tmp_path):
    worlds.result = Check("episode of toy", "FAILED", "the expert failed", "make venv")
    assert main(["doctor", "--suite", "toy", "--runs-dir", str(tmp_path)]) == 1
    assert "FAILED  episode of toy: the expert failed\n        mend: make venv" in capsys.readouterr().out


def test_a_full_disk_is_found_before_the_first_episode(worlds, tmp_path, monkeypatch):
    healthy(tmp_path)
    monkeypatch.setattr(doctor, "FREE_BYTES", 2**60)
    with pytest.raises(PreflightError, match="(?s)GiB free in .*--runs-dir"):
        healthy(tmp_path)


def test_a_process_that_crashes_or_hangs_is_a_failed_check(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.sys, "executable", "/bin/false")
    with pytest.raises(PreflightError, match="ended with code 1: without a word"):
        healthy(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "TIMEOUT_S", 0.001)
    (check,) = doctor._world("toy", "none")
    assert check.state == "FAILED" and "nothing happened" in check.detail


def test_a_suite_that_cannot_start_or_has_no_assets_is_one_failed_line(worlds, monkeypatch):
    def refuse(error):
        def raising(*args):
            raise error
        return raising

    class Module:
        assets_stamp = staticmethod(refuse(AssetsError("no such folder; name it with LIBERO_ASSETS=DIR")))

    monkeypatch.setattr(doctor, "suite_module", lambda suite: Module)
    *_, assets = doctor._suite("toy", "none", False)
    assert (assets.state, worlds) == ("FAILED", []) and "LIBERO_ASSETS=DIR" in assets.detail
    monkeypatch.setattr(doctor, "renderer_of", refuse(PreflightError("no renderer; apt-get install libegl1")))
    (check,) = doctor._suite("toy", "none", False)
    assert check.state == "FAILED" and "apt-get" in check.detail


def test_an_expert_that_fails_is_a_failed_check(monkeypatch):
    from policies.scripted import ToyScripted

    monkeypatch.setattr(ToyScripted, "act", lambda self, observations: 1 / 0)
    picture, episode = selftest.selftest("toy", "none")
    assert (picture.state, episode.state) == ("ok", "FAILED")
    assert "ZeroDivisionError" in episode.detail and "constraints.txt" in episode.mend


def test_a_broken_cache_is_written_anew(worlds, tmp_path, cache):
    cache.parent.mkdir()
    cache.write_text("{")
    healthy(tmp_path)
    assert worlds == ["toy"] and len(json.loads(cache.read_text())) == 1


@pytest.mark.parametrize(("options", "hint"), [
    (["--suite", "toi"], "did you mean 'toy'"), (["--suite", "toy", "--assets", "builtin"], "legal: none"),
    (["--assets", "buildin"], "did you mean 'builtin'"),
])
def test_unknown_names_are_refused(worlds, capsys, options, hint):
    assert main(["doctor", *options]) == 2
    assert hint in capsys.readouterr().err and worlds == []
