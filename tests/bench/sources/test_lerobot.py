from __future__ import annotations

import json

import numpy as np
import pytest

from bench.errors import UsageError
from bench.sources import lerobot
from bench.sources.source import Views
from tests.bench.sources.conftest import EPISODES, LENGTH, STATE, shade

VIEWS = Views(("agentview",), 32, {})


def test_frames_of_every_version_are_those_that_were_asked_for(dataset):
    found = lerobot.source(dataset, VIEWS)
    assert found.count == EPISODES * LENGTH
    seen = found.load([2, 9, 10, 17])
    for (observation, episode), (number, frame) in zip(seen, [(0, 2), (0, 9), (1, 0), (1, 7)], strict=True):
        # Films lose a little; neighbouring frames are ten levels apart.
        assert np.abs(observation.images["agentview"].astype(int) - shade(number, frame)).max() <= 3
        assert observation.instruction == f"lift the {('red', 'blue')[number]} cube" and episode == f"set/{number}"
        np.testing.assert_array_equal(observation.state, np.float32(STATE))


def test_a_camera_goes_by_the_name_that_it_is_given(dataset):
    for name in ("front", "observation.images.front"):
        assert lerobot.source(dataset, Views(("agentview",), 32, {"agentview": name})).count == 20
    with pytest.raises(UsageError, match="no pictures 'back' for camera 'agentview'; it has observation.images.front"):
        lerobot.source(dataset, Views(("agentview",), 32, {"agentview": "back"}))
    with pytest.raises(UsageError, match="for camera 'agentview'.*--cameras agentview=NAME"):
        lerobot.source(dataset, Views(("agentview", "wrist"), 32, {}))


def test_a_data_set_without_pictures_says_how_to_get_some(dataset):
    info = json.loads((dataset / "meta" / "info.json").read_text())
    del info["features"]["observation.images.front"]
    (dataset / "meta" / "info.json").write_text(json.dumps(info))
    with pytest.raises(UsageError, match="has no pictures, neither films nor images"):
        lerobot.source(dataset, VIEWS)


def test_what_is_missing_is_named(dataset):
    found = lerobot.source(dataset, VIEWS)
    for film in dataset.glob("videos/**/*.mp4"):
        film.unlink()
        with pytest.raises(UsageError, match="was not downloaded completely"):
            found.load([0, 19])
    for tasks in (dataset / "meta").glob("tasks.*"):
        tasks.unlink()
    with pytest.raises(UsageError, match="neither meta/tasks.parquet nor meta/tasks.jsonl"):
        lerobot.source(dataset, VIEWS)
    (dataset / "meta" / "tasks.jsonl").write_text('{"task_index": 0, "task": "x"}')
    info = json.loads((dataset / "meta" / "info.json").read_text())
    del info["features"]["observation.state"]
    (dataset / "meta" / "info.json").write_text(json.dumps(info))
    with pytest.raises(UsageError, match="has no observation.state"):
        lerobot.source(dataset, VIEWS)
    assert lerobot.source(dataset, Views(("agentview",), 32, {}, state=False)).count == EPISODES * LENGTH
