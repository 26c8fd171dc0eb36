from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bench.cli import main

ROOT = Path(__file__).parents[3]
HEAVY = ("mujoco", "robosuite", "libero", "bddl", "gymnasium", "numba", "cv2")


def test_a_policy_is_timed_without_a_simulator(tmp_path):
    # None in sys.modules makes an import fail, as if the package were not installed.
    program = (f"import sys\nfor name in {HEAVY}: sys.modules[name] = None\n"
               "from bench.cli import main\n"
               "sys.exit(main(['time', '--policy', 'toy-vla', '--method', 'rtn:w8a8', '--rounds', '3',"
               " '--threads', '1', '--device', 'cpu', '--out', 'cpu.json']))")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "cpu.json").read_text())
    fp, rtn = content["variants"]
    assert len(content["variants"][rtn]["samples_ms"]) == 3 and content["device"] == "cpu"
    assert content["identities"][rtn]["method"] == "rtn:w8a8" and rtn.startswith("rtn-") and fp.startswith("fp-")
    assert set(content["speedup"]) == {rtn} and content["energy"][rtn]["reason"] == "cpu tells no power"
    stages = content["stages"][rtn]
    assert [len(stages[f"{part}_ms"]) for part in ("preprocess", "inference", "postprocess")] == [3, 3, 3]
    assert content["memory"][rtn]["bytes"] is None and content["variants"][rtn]["p99_ms"] > 0
    assert content["estimates"][rtn]["ms"] is None and content["estimates"][rtn]["macs"] > 0
    assert json.loads(done.stdout.splitlines()[-1])["file"] == "cpu.json"


@pytest.mark.parametrize(("arguments", "words"), [
    (["--device", "orin"], "device 'orin' cannot be timed here"), (["--device", "cpuu"], "did you mean 'cpu'"),
    (["--device", "cpu", "--policy", "expert"], "no network"),
    (["--device", "cpu", "--out", str(ROOT / "README.md")], "never replaced unasked"),
])
def test_what_cannot_be_timed_is_refused_before_the_work(capsys, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["time", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_installing_without_extras_brings_no_simulator():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [dependency.partition("=")[0].partition(">")[0] for dependency in project["dependencies"]]
    assert not {*HEAVY, "opencv-python"} & set(names)
    assert "mujoco==3.2.3" in project["optional-dependencies"]["libero"]
