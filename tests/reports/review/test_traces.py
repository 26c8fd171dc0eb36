from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from reports.load import CorruptRun
from reports.review.traces import group_script


def frame(steps: int, aside_mm: float) -> pd.DataFrame:
    at = np.arange(steps)
    columns = {f"a{i}": np.full(steps, i / 10) for i in range(7)}
    return pd.DataFrame({"decision": at // 4, **columns, "x": at * 1e-3, "y": aside_mm * 1e-3, "z": 1.0,
                         "g0": 0.04, "g1": -0.03})


def read(script: str) -> tuple[str, dict]:
    assert script.startswith("REVIEW_EPISODE(...") and script.endswith(");\n")
    return json.loads(script.removeprefix("REVIEW_EPISODE(...").removesuffix(");\n"))


def test_a_script_holds_traces_in_millimetres_with_the_distance_while_both_moved(tmp_path):
    frame(6, 0).to_parquet(tmp_path / "fp.parquet")
    frame(9, 3).to_parquet(tmp_path / "q.parquet")
    name, traces = read(group_script("toy-0-0-0", [("fp", tmp_path / "fp.parquet"), ("q", tmp_path / "q.parquet")],
                                     {"fp": None, "q": "fp"}))
    assert name == "toy-0-0-0" and traces["fp"]["distance_mm"] is None
    assert traces["q"]["distance_mm"] == [3.0] * 6
    assert traces["q"]["position_mm"][0] == list(range(9)) and traces["q"]["gripper_mm"] == [70.0] * 9
    assert traces["q"]["looks"] == [0, 4, 8] and traces["q"]["actions"][6] == [0.6] * 9


def test_without_the_episode_of_full_precision_there_is_no_distance(tmp_path):
    frame(3, 0).to_parquet(tmp_path / "q.parquet")
    assert read(group_script("g", [("q", tmp_path / "q.parquet")], {"q": "fp"}))[1]["q"]["distance_mm"] is None


def test_a_trace_that_lacks_a_column_is_named(tmp_path):
    frame(3, 0).drop(columns="g1").to_parquet(tmp_path / "q.parquet")
    with pytest.raises(CorruptRun, match="q.parquet is not a trace with the columns .*g1"):
        group_script("g", [("q", tmp_path / "q.parquet")], {"q": None})
