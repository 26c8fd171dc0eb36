"""The layout of LeRobot data sets, version 3.0, field by field as its documentation has it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.demos import lerobot, parts

ARROW = {"float32": "float", "float64": "double", "int64": "int64", "bool": "bool"}


@pytest.fixture
def root(tasks):
    """The data set of five episodes without films."""
    lerobot.write(tasks, video=False)
    return tasks[0].dataset


def test_info_counts_what_is_there_and_has_every_field_of_the_format(root):
    info = json.loads((root / "meta" / "info.json").read_text())
    assert info.keys() == {
        "codebase_version", "robot_type", "total_episodes", "total_frames", "total_tasks", "chunks_size",
        "data_files_size_in_mb", "video_files_size_in_mb", "fps", "splits", "data_path", "video_path", "features"}
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"], info["total_tasks"]) \
        == ("v3.0", 5, 35, 2)
    assert info["fps"] == 20 and info["splits"] == {"train": "0:5"} and info["video_path"] is None
    assert {"timestamp", "frame_index", "episode_index", "index", "task_index"} < info["features"].keys()
    assert info["features"]["action"]["shape"] == [7] and len(info["features"]["action"]["names"]) == 7


def test_columns_have_the_types_and_shapes_that_info_declares(root):
    info = json.loads((root / "meta" / "info.json").read_text())
    for path in sorted((root / "data" / "chunk-000").iterdir()):
        schema = pq.read_schema(path)
        assert set(schema.names) == set(info["features"])
        for name, feature in info["features"].items():
            kind, (width,) = schema.field(name).type, feature["shape"]
            if width > 1:
                assert kind.list_size == width
                kind = kind.value_type
            assert str(kind) == ARROW[feature["dtype"]], name


def test_rows_are_numbered_through_and_episodes_know_their_rows(root):
    info = json.loads((root / "meta" / "info.json").read_text())
    episodes = pd.read_parquet(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    assert list(episodes["episode_index"]) == list(range(5)) and list(episodes["length"]) == [7] * 5
    rows = 0
    for _, episode in episodes.iterrows():
        data = pd.read_parquet(root / info["data_path"].format(
            chunk_index=episode["data/chunk_index"], file_index=episode["data/file_index"]))
        mine = data[data["episode_index"] == episode["episode_index"]]
        assert list(mine["index"]) == list(range(rows, rows + 7))
        assert (episode["dataset_from_index"], episode["dataset_to_index"]) == (rows, rows + 7)
        np.testing.assert_allclose(mine["timestamp"], np.arange(7) / 20, rtol=1e-6)
        assert list(mine["next.done"]) == [False] * 6 + [True] and list(mine["frame_index"]) == list(range(7))
        rows += 7


def test_tasks_are_found_by_their_words_and_episodes_by_suite_and_outcome(root):
    tasks = pd.read_parquet(root / "meta" / "tasks.parquet")
    assert tasks.index.name == "task" and dict(tasks["task_index"]) == {"pick up thing 0": 0, "pick up thing 1": 1}
    episodes = pd.read_parquet(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    assert list(episodes["success"]) == [True, True, True, True, False]
    assert [list(words) for words in episodes["tasks"]][3] == ["pick up thing 1"]
    assert set(episodes["suite"]) == {"libero_object"} and list(episodes["suite_task"]) == [0, 0, 0, 1, 1]


def test_shorter_states_are_filled_up_and_their_size_is_told(root, tasks):
    episodes = pd.read_parquet(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    assert list(episodes["simulator_state_size"]) == [9, 9, 9, 13, 13]
    table = pq.read_table(root / "data" / "chunk-000" / "file-000.parquet")
    stored = parts.values(table, "simulator_state")[:7]
    np.testing.assert_array_equal(stored[:, :9], parts.load(tasks[0].part(0)).simulator)
    assert (stored[:, 9:] == 0).all()


def test_statistics_of_all_are_those_of_the_rows(root):
    stats = json.loads((root / "meta" / "stats.json").read_text())
    tables = [pq.read_table(path) for path in sorted((root / "data" / "chunk-000").iterdir())]
    actions = np.concatenate([parts.values(table, "action") for table in tables]).astype(np.float64)
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(stats["action"][name], getattr(actions, name)(0), rtol=1e-9)
    assert stats["action"]["count"] == [35] and len(stats["timestamp"]["mean"]) == 1


def test_writing_again_gives_the_same_bytes(root, tasks):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    lerobot.write(tasks, video=False)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
