"""An episode's file."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from bench.demos import parts
from bench.demos.episode import Episode


def test_an_episode_comes_back_in_every_bit_and_type(tasks, tmp_path):
    first = parts.load(tasks[1].part(0))
    parts.save(tmp_path / "again.parquet", first)
    again = parts.load(tmp_path / "again.parquet")
    for field in fields(Episode):
        one, other = getattr(first, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(one, other)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None), field.name
    assert first.chunks.shape == (7, 8, 7) and first.chunks.dtype == np.float32 and first.simulator.shape == (7, 13)


def test_an_episode_without_fixtures_has_none_of_them(tasks, tmp_path):
    episode = parts.load(tasks[0].part(0))
    plain = {field.name: getattr(episode, field.name) for field in fields(Episode)}
    parts.save(tmp_path / "bare.parquet", Episode(**plain | {"fixtures": np.zeros((0, 7))}))
    assert parts.load(tmp_path / "bare.parquet").fixtures.shape == (0, 7)


def test_facts_are_told_without_reading_rows_and_drafts_are_gone(tasks):
    facts = parts.facts(tasks[1].part(1))
    assert (facts["success"], facts["length"], facts["task"], facts["number"]) == (False, 7, 1, 1)
    assert {path.name for path in tasks[0].parts.iterdir()} == {"00000.parquet", "00001.parquet", "00002.parquet"}
