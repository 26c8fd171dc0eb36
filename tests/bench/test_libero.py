"""Everything that makes a comparison hold, in one command on LIBERO: the toy world's tests say what each part does."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from reports.load import load_run
from reports.noise import noise_floor
from reports.table import results

pytestmark = pytest.mark.libero


def test_two_workers_with_latency_early_ends_and_drift_find_no_noise_in_libero(tmp_path, capsys):
    assert main(["drift", "--suite", "libero_object", "--tasks", "0,1", "--trials", "1", "--policy", "pocket-oft",
                 "--method", "rtn:w8a8", "--aa", "--stop", "sequential", "--margin", "40", "--latency", "fixed:60",
                 "--workers", "2", "--threads", "1", "--no-video", "--no-doctor", "--quiet",
                 "--runs-dir", str(tmp_path), "--run", "r"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    run = load_run(tmp_path / "r")
    floor = noise_floor(run)
    assert floor["exactly_zero"] and floor["greatest_drift"] == 0.0 and floor["pairs"] == 2
    assert said["complete"] and said["sequential"]["planned"] == 6 and said["latency"] == "fixed:60"
    for record in run.episodes.itertuples():
        # Two control steps pass in 60 ms, in every decision.
        decisions = len(record.latencies_ms)
        assert record.realtime["deadline_misses"] == decisions
        assert 2 * decisions - 1 <= record.realtime["waited_steps"] <= 2 * decisions
    shadows = [json.loads(path.read_text()) for path in sorted((tmp_path / "r" / "shadows").rglob("*.json"))]
    assert len(shadows) == 4 and all(shadow["repeated"] for shadow in shadows)
    row = results(run).frame.set_index("method").loc["rtn:w8a8"]
    assert 0 < row["drift_translation_mm"] < 5 and row["peak_process_bytes"] > 0 and row["recording_percent"] > 0
