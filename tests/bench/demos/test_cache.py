"""The arrays that training reads, and films, drawn by a painter that paints row numbers."""

from __future__ import annotations

import json
from contextlib import contextmanager

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from bench import frames
from bench.demos import cache, films, lerobot, parts
from bench.errors import UsageError


class RowPainter:
    """Pictures of one grey level: ten times the row, the wrist brighter."""

    def draw(self, episode, row: int) -> np.ndarray:
        return np.stack([np.full((128, 128, 3), 10 * row + 100 * camera, np.uint8) for camera in range(2)])


@pytest.fixture(autouse=True)
def painted(monkeypatch):
    """No simulator."""
    @contextmanager
    def painter(task):
        yield RowPainter()

    monkeypatch.setattr(cache, "painter", painter)
    monkeypatch.setattr(films, "painter", painter)


def arrays(folder):
    return {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}


def test_a_folder_has_a_row_for_each_decision(tasks):
    lines = list(cache.write(cache.Cache(tasks[0], only_successful=True, every=1)))
    assert lines == [None] * 3 + ["round 0 libero_object task 0: 6 decisions of 3 episodes"]
    found = arrays(tasks[0].frames)
    assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
        "images": ("uint8", (6, 2, 128, 128, 3)), "states": ("float32", (6, 8)), "chunks": ("float32", (6, 8, 7)),
        "focus": ("float32", (6, 7)), "text": ("int32", (6,)), "episode": ("int32", (6,))}
    assert list(found["episode"]) == [0, 0, 1, 1, 2, 2] and list(found["images"][:, 1, 0, 0, 0]) == [100, 140] * 3
    np.testing.assert_array_equal(found["chunks"][3], parts.load(tasks[0].part(1)).chunks[4])
    assert json.loads((tasks[0].frames / "instructions.json").read_text()) == ["pick up thing 0"]


def test_what_the_expert_missed_is_left_out_unless_it_is_wanted(tasks):
    list(cache.write(cache.Cache(tasks[1], only_successful=True, every=1)))
    assert json.loads((tasks[1].frames / "meta.json").read_text())["episodes_left_out"] == 1
    list(cache.write(cache.Cache(tasks[1], only_successful=False, every=2)))
    assert list(arrays(tasks[1].frames)["episode"]) == [0, 1]


def test_a_folder_is_made_again_only_if_its_episodes_or_the_choice_changed(tasks):
    made = cache.Cache(tasks[0], True, 1)
    list(cache.write(made))
    assert made.done() and not cache.Cache(tasks[0], True, 2).done()
    tasks[0].part(2).unlink()
    assert not made.done()


def test_rounds_and_suites_without_episodes_are_named(tasks):
    assert len(frames.caches(tasks[0].data, [0], None, True, 1)) == 2
    with pytest.raises(UsageError, match="no episodes to draw of suites libero_goal"):
        frames.caches(tasks[0].data, [0], ["libero_goal"], True, 1)
    assert frames.main(["--data", str(tasks[0].data), "--rounds", "3"]) == 2


def test_films_have_a_frame_for_each_row_and_episodes_know_where_theirs_begin(tasks):
    for task in tasks:
        assert films.statistics(task) is None
        list(films.film(task))
    lerobot.write(tasks, video=True)
    root = tasks[0].dataset
    info = json.loads((root / "meta" / "info.json").read_text())
    key = "observation.images.wrist"
    assert info["features"][key]["shape"] == [128, 128, 3] and info["features"][key]["dtype"] == "video"
    episode = pd.read_parquet(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet").iloc[2]
    assert (episode[f"videos/{key}/from_timestamp"], episode[f"videos/{key}/to_timestamp"]) == (0.7, 1.05)
    path = root / info["video_path"].format(video_key=key, chunk_index=0, file_index=0)
    shown = iio.imread(path, plugin="FFMPEG")
    assert iio.immeta(path, plugin="FFMPEG")["fps"] == 20 and len(shown) == 21
    np.testing.assert_allclose(shown.mean((1, 2, 3)), np.tile(100 + 10 * np.arange(7), 3), atol=3)
    assert json.loads((root / "meta" / "stats.json").read_text())[key]["min"] == [[[100 / 255]]] * 3


def test_films_are_out_of_date_when_an_episode_is_added(tasks):
    list(films.film(tasks[1]))
    assert films.statistics(tasks[1]) is not None
    parts.save(tasks[1].part(2), parts.load(tasks[1].part(0)))
    assert films.statistics(tasks[1]) is None
