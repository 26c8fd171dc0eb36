"""A tiny stand-in for LIBERO's tree, and a downloader that never leaves this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envs.libero import env, official
from envs.libero.process import package_folder
from envs.types import AssetsError

ROOT = Path(official.__file__).parents[2]
TINY = ("scenes/room.xml", "turbosquid_objects/pot/pot.xml", "textures/wall.png")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Three required files, one of which refers to a fourth; no folder given."""
    monkeypatch.setattr(official, "REQUIRED", TINY)
    monkeypatch.delenv(official.VARIABLE, raising=False)


def plant(folder: Path) -> Path:
    room = '<mujoco><!-- <mesh file="old.stl"/> --><texture file="../textures/wall.png"/></mujoco>'
    contents = {"scenes/room.xml": room,
                "turbosquid_objects/pot/pot.xml": '<mujoco><asset><mesh file="visual/pot.msh"/></asset></mujoco>',
                "textures/wall.png": "wall", "turbosquid_objects/pot/visual/pot.msh": "pot", "README.md": "notes"}
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


class Hub:
    """Counts downloads; `sizes` replaces what the repository says of its files."""

    def __init__(self, sizes: dict[str, int] | None = None) -> None:
        self.calls, self.sizes = 0, sizes

    def __call__(self, draft: Path) -> official.Download:
        self.calls += 1
        plant(draft)
        (draft / ".cache").mkdir()
        (draft / ".cache" / "lock").write_text("")
        found = {p.relative_to(draft).as_posix(): p.stat().st_size for p in draft.rglob("*") if p.is_file()}
        return official.Download("0123abc", self.sizes or {k: v for k, v in found.items() if ".cache" not in k})


def test_without_a_folder_the_tree_is_downloaded_once_and_stamped(tmp_path):
    hub = Hub()
    first = official.stamp(tmp_path, hub)
    assert official.stamp(tmp_path, hub) == first and hub.calls == 1
    assert (first["kind"], first["files"], first["folder"]) == ("official", 4, str(tmp_path / "official"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["official", "official.sha256"]
    assert not (tmp_path / "official" / ".cache").exists()
    assert "0123abc" in (tmp_path / "official.sha256").read_text()


def test_a_named_folder_is_used_as_it_is_and_gets_the_same_stamp(tmp_path, monkeypatch):
    mine = plant(tmp_path / "mine")
    monkeypatch.setenv(official.VARIABLE, str(mine))
    before = sorted(mine.rglob("*"))
    stamp = official.stamp(tmp_path / "root", lambda draft: pytest.fail("downloaded"))
    assert stamp["folder"] == str(mine) and sorted(mine.rglob("*")) == before
    monkeypatch.delenv(official.VARIABLE)
    assert official.stamp(tmp_path / "other", Hub())["digest"] == stamp["digest"]


def test_the_list_is_one_that_sha256sum_can_check(tmp_path):
    official.stamp(tmp_path, Hub())
    subprocess.run(["sha256sum", "-c", "--quiet", "../official.sha256"], cwd=tmp_path / "official", check=True)


@pytest.mark.parametrize(("change", "state"), [
    (lambda tree: (tree / "textures/wall.png").write_text("other"), r"textures/wall\.png \(changed\)"),
    (lambda tree: (tree / "textures/more.png").write_text("x"), r"textures/more\.png \(new\)"),
])
def test_a_tree_that_changed_since_the_first_run_is_refused(tmp_path, change, state):
    official.stamp(tmp_path, Hub())
    change(tmp_path / "official")
    with pytest.raises(AssetsError, match=f"1 files .* {state}.*delete the list"):
        official.stamp(tmp_path)


def test_missing_files_are_named_with_those_that_others_refer_to(tmp_path, monkeypatch):
    mine = plant(tmp_path / "mine")
    (mine / "turbosquid_objects/pot/visual/pot.msh").unlink()
    (mine / "scenes/room.xml").unlink()
    monkeypatch.setenv(official.VARIABLE, str(mine))
    with pytest.raises(AssetsError) as error:
        official.ensure(tmp_path)
    assert "lack 2 files, first scenes/room.xml, turbosquid_objects/pot/visual/pot.msh" in str(error.value)
    assert "articulated_objects/NAME.xml" in str(error.value)


def test_a_folder_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(official.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(AssetsError, match=r"nowhere, and there is no such folder\. Name another"):
        official.ensure(tmp_path)


@pytest.mark.parametrize("below", ["assets", "libero/libero/assets"])
def test_a_folder_one_level_off_is_recognized(tmp_path, monkeypatch, below):
    plant(tmp_path / below)
    monkeypatch.setenv(official.VARIABLE, str(tmp_path))
    with pytest.raises(AssetsError, match=f"Did you mean .*{below}"):
        official.ensure(tmp_path / "root")


def test_a_download_that_is_not_whole_is_refused_and_can_go_on(tmp_path):
    with pytest.raises(AssetsError, match=r"1 of 2 files are missing or of another size, first scenes/extra\.xml"):
        official.ensure(tmp_path, Hub({"scenes/extra.xml": 3, "textures/wall.png": 4}))
    assert (tmp_path / "official.part").is_dir() and not (tmp_path / "official").exists()


def test_without_a_network_both_ways_out_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(AssetsError) as error:
        official.ensure(tmp_path)
    for part in ("offline mode", "connect to the internet", "LIBERO_ASSETS=DIR", "--official-assets DIR"):
        assert part in str(error.value)


@pytest.fixture
def online(serve, tmp_path, monkeypatch):
    """The tiny tree on a hub that the real downloader is pointed at."""
    hub = serve(plant(tmp_path / "served"))
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "0")
    monkeypatch.delenv("HF_HOME", raising=False)
    return hub


def test_the_real_downloader_shows_its_progress_and_writes_nothing_under_home(online, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    stamp = official.stamp(tmp_path / "root")
    assert "Fetching 5 files: 100%" in capfd.readouterr().err
    assert stamp["files"] == 4 and sorted(online.sent) == sorted(online.files)
    assert not (tmp_path / "home").exists()


def test_a_download_that_failed_goes_on_where_it_stopped(online, tmp_path):
    online.refused = "textures/wall.png"
    with pytest.raises(AssetsError, match="(?s)cannot be downloaded .*give the same command again"):
        official.ensure(tmp_path / "root")
    assert not (tmp_path / "root" / "official").exists()
    before = list(online.sent)
    online.refused = None
    official.ensure(tmp_path / "root")
    assert before and not set(before) & set(online.sent[len(before):])


@pytest.mark.parametrize("file", ["textures/wall.png", "turbosquid_objects/pot/visual/pot.msh"])
def test_a_file_that_arrives_altered_is_refused_and_fetched_again(online, tmp_path, file):
    online.altered = file
    with pytest.raises(AssetsError, match=f"1 downloaded files do not have the checksum .* first {file}"):
        official.ensure(tmp_path / "root")
    online.altered = None
    official.ensure(tmp_path / "root")
    assert online.sent.count(file) == 2 and len(online.sent) == 6


def test_the_repository_is_the_one_that_libero_names():
    assert f'"{official.REPOSITORY}"' in (package_folder() / "utils" / "download_utils.py").read_text()


def test_only_one_place_reads_the_variable():
    readers = [path for package in ("bench", "envs", "policies", "reports") for path in (ROOT / package).rglob("*.py")
               if "LIBERO_ASSETS" in path.read_text() and "environ.get(VARIABLE)" in path.read_text()]
    assert readers == [Path(official.__file__)]


@pytest.mark.libero
def test_an_episode_on_a_named_folder_reduces_and_writes_nothing_there(tmp_path, monkeypatch):
    """The built-in tree in its place: with the robot's own meshes, of which the built-in kind shows six thousand."""
    monkeypatch.undo()
    mine = tmp_path / "mine"
    shutil.copytree(env.assets_folder("builtin"), mine, ignore=shutil.ignore_patterns("bundles", "robot"))
    before = sorted(mine.rglob("*"))
    program = (
        "from envs.libero import env\n"
        "import numpy as np\n"
        "task = env.open_task('libero_object', 0, 32, 'official')\n"
        "assert task.reset(0, 0).images['agentview'].std() > 5\n"
        "task.step(np.zeros(7))\n"
        "print(task.scene.model.nmeshface, env.assets_stamp('official')['digest'])\n")
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path,
                           env=os.environ | {official.VARIABLE: str(mine), "PYTHONPATH": str(ROOT)}).stdout.split()[-2:]
            for _ in range(2)]
    assert runs[0] == runs[1] and int(runs[0][0]) > 100_000
    assert sorted(mine.rglob("*")) == before


def test_an_unknown_kind_is_answered_with_the_legal_ones():
    with pytest.raises(AssetsError, match="legal are: builtin, official"):
        env.assets_folder("mine")


def test_the_option_reaches_every_process_and_only_official_assets(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv(official.VARIABLE, "")
    from bench.cli import main

    plant(tmp_path)
    assert main(["assets", "path", "--assets", "official", "--official-assets", str(tmp_path)]) == 0
    assert capfd.readouterr().out.strip() == str(tmp_path)
    child = "import os; print(os.environ['LIBERO_ASSETS'])"
    assert subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.strip() == str(tmp_path)
    assert main(["assets", "path", "--official-assets", str(tmp_path)]) == 2
    assert "only --assets official uses" in capfd.readouterr().err
