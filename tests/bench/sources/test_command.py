"""Calibration through the commands: what is asked for is what the audit says, and equal commands give equal bytes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from quantizers.registry import METHODS

ROOT = Path(__file__).parents[3]
CALIBRATED = {"smoothquant": "", "awq": ":ratios=2", "gptq": "", "omniquant": ":epochs=1",
              "qvla": ":probes=2,check_channels=2", "quantvla": ":temperature=false,balance=false",
              "omega-qvla": ":head_scales=token,activation_scales=tensor"}


def quantized(method: str, out: str, *options: str) -> dict:
    """The audit of a toy policy that was quantized by the command."""
    assert main(["quantize", "--policy", "toy-vla", "--method", method, "--threads", "1", "--out", out, *options]) == 0
    return json.loads(Path(out, "audit.json").read_text())


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.mark.parametrize("name", [name for name in METHODS if name != "fp"])
def test_two_commands_with_the_same_seed_write_the_same_bytes(name):
    method = name + CALIBRATED.get(name, "")
    options = ["--calibration-samples", "10", "--calibration-choice", "random", "--seed", "5"]
    for out in ("first", "second"):
        quantized(method, out, *(options if METHODS[name].needs_calibration else []))
    assert contents("first") == contents("second")


def test_two_processes_write_the_same_bytes():
    for out in ("first", "second"):
        command = ["quantize", "--policy", "toy-vla", "--method", "qvla:probes=2,check_channels=2", "--threads", "1",
                   "--out", str(Path(out).absolute())]
        subprocess.run([sys.executable, "-m", "bench", *command], cwd=ROOT, check=True, capture_output=True)
    assert contents("first") == contents("second")


def test_size_and_choice_decide_the_set_and_the_audit_says_which(lines, capsys):
    digests = {}
    for number, options in enumerate([[], ["--calibration-samples", "8"], ["--calibration-choice", "first"],
                                      ["--calibration-samples", "8", "--calibration-choice", "first"],
                                      ["--calibration", str(lines)]]):
        audit = quantized("gptq", f"v{number}", *options)
        digests[number] = audit["calibration_digest"]
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert told["calibration_digest"] == audit["calibration_digest"]
    assert digests[0] == digests[2] and len(set(digests.values())) == 4
    assert audit["calibration_episodes"] == [f"lines.jsonl/{number}" for number in range(1, 13)]


def test_a_data_set_calibrates(dataset):
    audit = quantized("gptq", "v", "--calibration", str(dataset), "--cameras", "agentview=front",
                      "--calibration-samples", "9")
    assert audit["calibration_episodes"] == ["set/0", "set/1"]


def test_what_was_calibrated_on_a_run_is_not_evaluated_on_its_episodes(capsys):
    play = ["bench", "--suite", "toy", "--threads", "1", "--quiet", "--no-video", "--no-doctor"]
    assert main([*play, "--trials", "2", "--tasks", "0", "--method", "rtn", "--run", "x"]) == 0
    audit = quantized("gptq", "v", "--calibration", "runs/x", "--calibration-samples", "8")
    assert audit["calibration_episodes"] == ["toy-0-0-0", "toy-0-1-0"]
    capsys.readouterr()
    for seed in ("0", "3"):
        assert main([*play, "--trials", "1", "--policy", "./v", "--seed", seed]) == 2
        assert "v was calibrated on 1 of the episodes" in capsys.readouterr().err
    assert main([*play, "--trials", "1", "--tasks", "1", "--policy", "./v"]) == 0


@pytest.mark.parametrize(("options", "hint"), [
    (["--method", "rtn", "--calibration-samples", "8"], "looks at no data, so --calibration-samples means nothing"),
    (["--method", "gptq", "--calibration", "nowhere"], "calibration source nowhere is not there"),
    (["--method", "gptq", "--calibration-choice", "spraed"], "did you mean 'spread'?"),
    (["--method", "gptq", "--calibration-samples", "0"], "must be 1 or more, got 0"),
    (["--method", "gptq", "--cameras", "agentview=x"], "it needs --calibration"),
    (["--method", "gptq", "--calibration", "{lines}", "--cameras", "front=x"], "a camera among agentview"),
    (["--method", "gptq", "--calibration", "{lines}", "--calibration-samples", "13"], "has 12 observations, 13 were"),
])
def test_what_cannot_calibrate_is_refused_before_any_work(options, hint, lines, capsys, monkeypatch):
    monkeypatch.setattr("bench.quantize.build", lambda *_: pytest.fail("something was quantized"))
    assert main(["quantize", "--policy", "toy-vla", *(text.format(lines=lines) for text in options)]) == 2
    assert re.search(re.escape(hint), capsys.readouterr().err)


def test_too_few_observations_for_a_method_are_refused(lines, capsys):
    assert main(["quantize", "--policy", "toy-vla", "--method", "gptq", "--calibration", str(lines),
                 "--calibration-samples", "3", "--out", "v"]) == 2
    assert "at least 8 observations, and this one has 3" in capsys.readouterr().err and not Path("v").exists()
