from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from bench.cli import main
from reports.load import CorruptRun
from reports.verify import verify
from reports.write import write_reports


@pytest.fixture
def reported(timed_folder):
    """A run with reports and with a trace of every episode."""
    for line in (timed_folder / "episodes.jsonl").read_text().splitlines():
        record = json.loads(line)
        path = timed_folder / record["trace"]
        path.parent.mkdir(parents=True, exist_ok=True)
        steps = np.arange(record["steps"])
        pd.DataFrame({"step": steps, "x": 0.001 * steps, "y": 0.0, "z": 0.0}).to_parquet(path)
    write_reports(timed_folder)
    return timed_folder


def test_a_report_that_says_what_the_records_say_passes(reported, capsys):
    assert verify(reported) == []
    assert main(["verify", str(reported)]) == 0
    assert "is what the records give" in capsys.readouterr().out


def test_an_outcome_that_was_changed_afterwards_is_found(reported, capsys):
    path = reported / "episodes.jsonl"
    path.write_text(path.read_text().replace('"failure"', '"success"', 1))
    found = verify(reported)
    assert any(line.startswith("report.csv: row rtn4, column successes: '4' in the file, '5'") for line in found)
    assert any(line.startswith("summary.json: ") and line.endswith("from the records") for line in found)
    assert main(["verify", str(reported)]) == 1


@pytest.mark.parametrize("name", ["report.md", "report.html", "report.tex", "plots/forest.svg", "review.html"])
def test_a_figure_that_was_changed_in_any_file_is_found(reported, name):
    path = reported / name
    path.write_text(path.read_text().replace("0", "9", 1))
    found = verify(reported)
    assert found and all(line.startswith(f"{name}: line") for line in found)


def test_missing_files_and_traces_are_named(reported):
    (reported / "report.tex").unlink()
    (reported / "traces" / "rtn4" / "libero_object-0-0-0.parquet").unlink()
    short = pd.DataFrame({"step": [0], "x": [0.0], "y": [0.0], "z": [0.0]})
    short.to_parquet(reported / "traces" / "qvla" / "libero_object-0-0-0.parquet")
    found = verify(reported)
    assert "report.tex is missing; write it with the report command" in found
    assert "episodes.jsonl line 2: its trace traces/rtn4/libero_object-0-0-0.parquet is missing" in found
    assert "episodes.jsonl line 3 has 20 steps, its trace traces/qvla/libero_object-0-0-0.parquet has 1" in found


def test_an_audit_that_was_damaged_is_refused(reported):
    (reported / "audits" / "rtn4.json").write_text("{")
    with pytest.raises(CorruptRun, match=r"rtn4\.json"):
        verify(reported)
