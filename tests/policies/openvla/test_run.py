"""A tiny checkpoint through the same door as everything else: quantized, played, reported; in the toy world."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench import protocol, speed
from bench.calibration import main as record
from bench.cli import main
from policies.registry import POLICIES
from tests.policies.openvla import tiny
from tests.policies.openvla.conftest import SIDE


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A checkpoint with statistics of the toy world, whose episodes are cut short."""
    monkeypatch.chdir(tmp_path)
    folder = tiny.write_checkpoint(tmp_path / "tiny", "openvla-oft", side=SIDE)
    (folder / "dataset_statistics.json").write_text(json.dumps({"toy": tiny.STATISTICS["libero_10_no_noops"]}))
    entry = POLICIES["openvla-oft"]
    monkeypatch.setitem(POLICIES, "openvla-oft", dataclasses.replace(entry, suites=(*entry.suites, "toy")))
    short = dataclasses.replace(protocol.PROTOCOLS["oft"], max_steps={"toy": 16})
    monkeypatch.setitem(protocol.PROTOCOLS, "oft", short)
    monkeypatch.setattr(speed, "time_variants", lambda spec, store: [])  # dozens of decisions for every variant
    return folder


BENCH = ["bench", "--suite", "toy", "--tasks", "0", "--trials", "1", "--threads", "1", "--no-video", "--quiet",
         "--no-doctor", "--policy", "openvla-oft:tiny"]


def test_a_checkpoint_of_a_folder_is_quantized_and_played(toy, capsys):
    assert record(["--suite", "toy", "--tasks", "0", "--episodes", "4", "--quiet"]) == 0
    assert main([*BENCH, "--method", "rtn:w8a8 qvla:check_channels=2", "--run", "first"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.dumps(summary)
    header = json.loads(Path("runs/first/header.json").read_text())
    variants = header["spec"]["variants"]
    assert {v["policy"] for v in variants} == {"openvla-oft:toy=tiny"} and len({v["weights"] for v in variants}) == 1
    assert all(text.startswith("placements") for text in header["protocol"]["deviations"])
    records = [json.loads(line) for line in Path("runs/first/episodes.jsonl").read_text().splitlines()]
    assert len(records) == 3 and {r["steps"] for r in records} == {16}
    assert {len(r["latencies_ms"]) for r in records} == {2}


def test_a_saved_variant_of_it_is_played_beside_it(toy, capsys):
    method = ["--policy", "openvla-oft:toy=tiny", "--method", "rtn:w4a8", "--threads", "1"]
    assert main(["quantize", *method, "--out", "variants/mine"]) == 0
    assert main([*BENCH[:-2], "--policy", "variants/mine", "--run", "second"]) == 0
    assert len(Path("runs/second/episodes.jsonl").read_text().splitlines()) == 2


def test_a_method_that_calibrates_says_how_to_record(toy, capsys):
    assert main([*BENCH, "--method", "qvla", "--run", "third"]) == 2
    said = capsys.readouterr().err
    assert "python -m bench.calibration --suite toy" in said


def test_what_is_wrong_with_a_checkpoint_ends_the_command_before_an_episode(toy, capsys):
    (toy / "action_head--150000_checkpoint.pt").write_bytes(b"no tensors")
    assert main([*BENCH, "--method", "rtn:w8a8", "--run", "fourth"]) == 2
    assert "is refused" in capsys.readouterr().err
    records = Path("runs/fourth/episodes.jsonl")
    assert not records.exists() or not records.read_text()
