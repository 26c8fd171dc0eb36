from __future__ import annotations

import json

import numpy as np
import pytest

from bench.errors import UsageError
from bench.sources.source import Choice, Source, Views, open_source, overlap, refuse_overlap
from bench.spec import EpisodeKey

VIEWS = Views(("agentview",), 32, {})


def source(count: int) -> Source:
    return Source("somewhere", count, lambda indices: [(index, "e") for index in indices])


def test_spread_takes_the_middles_of_equal_parts():
    assert Choice(4).of(source(12), 99) == [1, 4, 7, 10]
    assert Choice().of(source(3), 99) == [0, 1, 2] and Choice().of(source(300), 64)[-1] == 297


def test_random_is_drawn_by_the_seed_alone():
    first, again, other = (Choice(5, "random", seed).of(source(100), 9) for seed in (1, 1, 2))
    assert first == again != other and first == sorted(set(first)) and Choice(3, "first").of(source(9), 9) == [0, 1, 2]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Choice(5).of(source(4), 9), "somewhere has 4 observations, 5 were asked for"),
    (lambda: Choice().of(source(0), 9), "somewhere has 0 observations"),
    (lambda: Choice(0), "must be 1 or more, got 0"),
    (lambda: Choice(how="spraed"), "did you mean 'spread'?"),
])
def test_what_cannot_be_chosen_is_an_error(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_a_path_that_is_no_source_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="is not there; give a JSON Lines file"):
        open_source(tmp_path / "nothing", VIEWS)
    with pytest.raises(UsageError, match="is a folder without meta/info.json"):
        open_source(tmp_path, VIEWS)


def test_decisions_of_training_are_a_source(tmp_path):
    folder = tmp_path / "round0" / "libero_goal-3"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 2, 32, 32, 3), dtype=np.uint8)
    arrays = {"images": images, "states": rng.normal(size=(4, 8)), "episode": np.array([0, 0, 5, 5]),
              "text": np.array([0, 0, 1, 1])}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "instructions.json").write_text(json.dumps(["open it", "close it"]))
    ((first, name), (second, other)) = open_source(folder, Views(("wrist",), 32, {})).load([1, 2])
    np.testing.assert_array_equal(first.images["wrist"], images[1, 1])
    assert (name, other) == ("round0/libero_goal-3/0", "round0/libero_goal-3/5") and second.instruction == "close it"
    with pytest.raises(UsageError, match="none of 'front'"):
        open_source(folder, Views(("front",), 32, {}))


def test_the_same_init_state_overlaps_whatever_the_seed():
    keys = [EpisodeKey("v", "libero_object", 1, state, 7) for state in (0, 1)]
    episodes = ["libero_object-1-0-0", "libero_object-1-2-7", "libero_object-11-0-7", "round0/libero_object-1/0", "a"]
    assert overlap(episodes, keys) == ["libero_object-1-0-0"]
    with pytest.raises(UsageError, match="x was calibrated on 1 of the episodes .* first libero_object-1-0-0"):
        refuse_overlap("x", episodes, keys)
    refuse_overlap("x", episodes[1:], keys)
