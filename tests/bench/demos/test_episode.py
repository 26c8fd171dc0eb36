"""Real episodes of one task: what is stored is enough, and nothing depends on what was played before."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from bench import collect
from bench.demos import episode as episode_module
from bench.demos import parts, pictures
from bench.demos.episode import PROTOCOL, Episode, play
from bench.demos.plan import ASSETS, RoundTerms, Task
from envs.libero import env as libero
from envs.libero.suite import SUITES
from envs.types import OSC_POSE

pytestmark = pytest.mark.libero
CAP = 30
"""Steps of an episode in these tests."""


class Watcher:
    """A policy that remembers what it saw and pushes the arm about."""

    def __init__(self) -> None:
        self.seen = []

    def reset(self, noise_key) -> None:
        self.rng = np.random.default_rng(noise_key)

    def act(self, observations) -> np.ndarray:
        self.seen += observations
        return self.rng.uniform(-1, 1, (1, 8, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def stamp() -> str:
    return libero.assets_stamp(ASSETS)["digest"]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Episodes end early."""
    monkeypatch.setattr(episode_module, "PROTOCOL", replace(PROTOCOL, max_steps=dict.fromkeys(SUITES, CAP)))


@pytest.fixture(scope="module")
def env():
    opened = libero.open_task("libero_goal", 1, 128, ASSETS, privileged=True)
    yield opened
    opened.close()


def same(one: Episode, other: Episode) -> None:
    for field in fields(Episode):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def test_pictures_from_stored_states_are_those_that_the_policy_saw_live(env, stamp, tmp_path):
    watcher = Watcher()
    episode = play(env, 0, 11, watcher, "watcher", 0.0, stamp)
    parts.save(tmp_path / "0.parquet", episode)
    stored = parts.load(tmp_path / "0.parquet")
    rows = np.flatnonzero(stored.decisions)
    assert len(rows) == len(watcher.seen) > 3 and not stored.expert_drives.any()
    with pictures.painter(Task(tmp_path, 0, "libero_goal", 1)) as paint:
        for row, seen in zip(rows, watcher.seen, strict=True):
            np.testing.assert_array_equal(paint.draw(stored, row), np.stack(list(seen.images.values())))
            np.testing.assert_array_equal(stored.states[row], seen.state)


def test_an_episode_depends_on_its_seed_alone(env, stamp):
    first = play(env, 3, 5, None, "expert", 1.0, stamp)
    play(env, 4, 6, None, "expert", 1.0, stamp)
    same(first, play(env, 3, 5, None, "expert", 1.0, stamp))
    assert first.expert_drives.all() and first.decisions[0] and abs(first.actions).max() <= 1.0


def test_labels_leave_no_trace_in_the_world(env, stamp):
    episode = play(env, 0, 7, None, "expert", 1.0, stamp)
    env.reset(None, 7, observe=False)
    for _ in range(10):
        env.step(np.array(OSC_POSE.hold), observe=False)
    for row, action in enumerate(episode.actions):
        np.testing.assert_array_equal(env.scene.stored()[0], episode.simulator[row])
        env.step(action, observe=False)


def test_an_undisturbed_expert_executes_its_label(env, stamp):
    found = 0
    for seed in range(6):
        episode = play(env, 0, seed, None, "expert", 1.0, stamp)
        for row in np.flatnonzero(episode.decisions & (episode.noise == 0)):
            np.testing.assert_array_equal(episode.actions[row:row + 4], episode.chunks[row, :4][:CAP - row])
            found += 1
    assert found > 3


def test_only_what_is_missing_is_played(stamp, tmp_path):
    task = Task(tmp_path, 0, "libero_object", 0)
    order = collect.Order(task, 2, "expert", RoundTerms("expert", 1.0, stamp))
    assert len(list(collect.collect_task(order))) == 3 and order.missing() == []
    kept, removed = task.part(0).stat().st_mtime_ns, parts.load(task.part(1))
    task.part(1).unlink()
    assert order.missing() == [1]
    lines = list(collect.collect_task(order))
    assert lines[0] is None and lines[1].startswith("round 0 libero_object task 0: ") and len(lines) == 2
    assert task.part(0).stat().st_mtime_ns == kept
    same(parts.load(task.part(1)), removed)
