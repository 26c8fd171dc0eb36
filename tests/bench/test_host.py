"""An environment in a process of its own: the same results, and nothing that it does ends the run."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import numpy as np
import pytest

from bench.errors import StoreFull
from bench.host import EnvironmentHost, EnvironmentLost
from bench.pool import open_task
from bench.run import outstanding_errors, run
from envs.types import ActionError, InitStateError
from policies.scripted import ToyScripted

CLOCKS = ("latencies_ms", "wall_s", "peak_rss_bytes", "recording_s", "finished")


def stubborn(kind: str, task: int, image_size: int, privileged: bool):
    """A toy environment that raises, dies or loops at its third step."""
    env = open_task("toy", "none", "none", task, image_size, privileged)
    step, count = env.step, [0]

    def failing(action, observe=True):
        count[0] += 1
        if count[0] == 3:
            {"raise": lambda: 1 / 0, "die": lambda: os.kill(os.getpid(), signal.SIGSEGV),
             "loop": lambda: time.sleep(60)}[kind]()
        return step(action, observe)

    env.step = failing
    return env


@pytest.fixture
def host():
    with EnvironmentHost(partial(open_task, "toy", "none", "none"), timeout_s=60) as opened:
        yield opened


def test_a_hosted_environment_gives_what_one_in_this_process_gives(host):
    there, here = host.open(1, 16, True), open_task("toy", "none", "none", 1, 16, True)
    assert there.task == here.task and there.action_spec == here.action_spec
    first = [env.reset(3, 5) for env in (there, here)]
    assert np.array_equal(first[0].images["wrist"], first[1].images["wrist"])
    for move in np.random.default_rng(0).uniform(-1, 1, (5, 7)):
        a, b = there.step(move), here.step(move)
        assert np.array_equal(a.state, b.state) and np.array_equal(a.observation.privileged["cubes"],
                                                                   b.observation.privileged["cubes"])
    assert np.array_equal(there.render("agentview", 8), here.render("agentview", 8))


def test_what_an_environment_raises_on_purpose_arrives_as_it_is_and_the_host_lives_on(host):
    env = host.open(0, 16, False)
    with pytest.raises(InitStateError, match="init states 0..9, got 99"):
        env.reset(99, 0)
    env.reset(0, 0)
    with pytest.raises(ActionError, match="not finite"):
        env.step(np.full(7, np.nan))
    assert host.alive


@pytest.mark.parametrize(("kind", "reason"), [
    ("raise", "ZeroDivisionError"), ("die", "ended with SIGSEGV during 'step'"), ("loop", "within 2 s and was killed"),
])
def test_an_environment_that_is_lost_says_how(kind, reason):
    with EnvironmentHost(partial(stubborn, kind), timeout_s=60) as host:
        env = host.open(0, 16, False)
        env.reset(0, 0)
        host.timeout_s = 2.0 if kind == "loop" else 60.0
        with pytest.raises(EnvironmentLost, match=reason):
            for _ in range(3):
                env.step(np.zeros(7))
        assert host.alive == (kind == "raise")


def test_a_killed_environment_costs_one_episode_and_the_next_run_repeats_it(scripted_spec, open_store, monkeypatch):
    with open_store(scripted_spec, "here") as store:
        run(scripted_spec, store, shown=False)
        expected = facts(store)
    plan, calls = ToyScripted._plan, [0]
    hosts = []
    init = EnvironmentHost.__init__
    monkeypatch.setattr(EnvironmentHost, "__init__", lambda self, *args: (init(self, *args), hosts.append(self))[0])

    def killing(self, observation):
        calls[0] += 1
        if calls[0] == 6:
            os.kill(hosts[-1].pid, signal.SIGKILL)
        return plan(self, observation)

    monkeypatch.setattr(ToyScripted, "_plan", killing)
    with open_store(scripted_spec, "there") as store:
        (missing,) = run(scripted_spec, store, shown=False, isolate=True)
        (error,) = outstanding_errors(store)
        assert error.key == missing and "ended with SIGKILL" in error.reason
        assert len(hosts) == 2 and len(store.keys()) == 3
    with open_store(scripted_spec, "there") as store:
        assert run(scripted_spec, store, shown=False, isolate=True) == set()
        assert facts(store) == expected


def facts(store) -> list[dict]:
    return [{k: v for k, v in r.to_json().items() if k not in CLOCKS}
            for r in sorted(store.records(), key=lambda r: r.key)]


def test_a_policy_that_never_answers_is_an_error_of_its_episode(scripted_spec, open_store, monkeypatch):
    plan, calls = ToyScripted._plan, [0]

    def waiting(self, observation):
        calls[0] += 1
        if calls[0] == 3:
            time.sleep(30)
        return plan(self, observation)

    monkeypatch.setattr(ToyScripted, "_plan", waiting)
    with open_store(scripted_spec) as store:
        assert len(run(scripted_spec, store, shown=False, timeout_s=1.0)) == 1
        (error,) = outstanding_errors(store)
        assert "Hang: nothing happened for 1 s" in error.reason and "test_host.py" in error.reason
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with open_store(scripted_spec) as store:
        assert run(scripted_spec, store, shown=False) == set()


def test_a_disk_without_room_stops_the_run_and_leaves_a_store_that_goes_on(scripted_spec, open_store, monkeypatch):
    with open_store(scripted_spec, "whole") as store:
        run(scripted_spec, store, shown=False)
        expected = facts(store)
    write, left = os.write, [20_000]

    def filling(descriptor, content):
        if left[0] <= 0:
            raise OSError(28, "No space left on device")
        count = write(descriptor, bytes(content)[:min(len(content), left[0], 4096)])
        left[0] -= count
        return count

    for room in (700, 5_000, 9_000, 12_500, 20_000):
        with open_store(scripted_spec, f"full{room}") as store:
            left[0] = room
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", filling)
                with pytest.raises(StoreFull, match="No space left on device; make room"):
                    run(scripted_spec, store, shown=False)
        assert not list(store.folder.root.rglob(".*.part"))
        with open_store(scripted_spec, f"full{room}") as store:
            assert run(scripted_spec, store, shown=False) == set()
            assert facts(store) == expected
