"""Several processes play one run: equal results, and a process that dies costs one episode."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest

from bench.cli import main
from bench.run import outstanding_errors, run
from bench.variants import make_variants
from bench.workers import Crew

CLOCKS = ("latencies_ms", "wall_s", "peak_rss_bytes", "recording_s", "finished")


def facts(store) -> list[dict]:
    return [{k: v for k, v in r.to_json().items() if k not in CLOCKS}
            for r in sorted(store.records(), key=lambda r: r.key)]


def test_what_an_episode_gives_does_not_depend_on_how_many_play(vla_spec, open_store):
    spec = dataclasses.replace(vla_spec, variants=make_variants("toy-vla", ["aa", "rtn"]))
    found = []
    for workers in (1, 3):
        with open_store(spec, f"by{workers}") as store:
            assert run(spec, store, shown=False, workers=workers) == set()
            found.append(facts(store))
            assert all(store.folder.audit(v.variant_id).is_file() for v in spec.variants)
    assert found[0] == found[1]


def test_a_process_that_dies_costs_one_episode_and_is_replaced(scripted_spec, open_store):
    spec = dataclasses.replace(scripted_spec, trials=4)
    with open_store(spec) as store:
        with Crew(2, spec, store.folder, 60.0, False) as crew:
            victim, records = crew._workers[0], []
            for record in crew.play(spec.variants[0], list(spec.episodes()), lambda audit: None):
                if not records:
                    os.kill(victim.process.pid, signal.SIGKILL)
                records.append(record)
        lost = [r for r in records if r.outcome == "error"]
        assert len({r.key for r in records}) == len(records) == 8 and len(lost) <= 1
        assert all("ended with SIGKILL" in r.reason for r in lost)


def test_early_ends_are_found_by_several_as_by_one(vla_spec, open_store):
    spec = dataclasses.replace(vla_spec, trials=10, stop="sequential", margin_points=40.0)
    found = []
    for workers in (1, 2):
        with open_store(spec, f"by{workers}") as store:
            assert run(spec, store, shown=False, workers=workers) == set()
            found.append(facts(store))
    assert found[0] == found[1] and len(found[0]) < 40


def test_what_several_leave_one_finishes(scripted_spec, open_store, monkeypatch):
    spec = dataclasses.replace(scripted_spec, trials=4)
    with open_store(spec, "whole") as store:
        run(spec, store, shown=False)
        expected = facts(store)

    class Killed(BaseException):
        pass

    with open_store(spec, "shared") as store:
        append, left = store.append, [3]

        def dying(record):
            append(record)
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        store.append = dying
        with pytest.raises(Killed):
            run(spec, store, shown=False, workers=2)
    with open_store(spec, "shared") as store:
        assert len(store.keys()) == 3
        assert run(spec, store, shown=False) == set() and outstanding_errors(store) == []
        assert facts(store) == expected


def test_an_unknown_runner_is_answered_with_the_near_match(capsys, tmp_path):
    assert main(["bench", "--suite", "toy", "--runner", "rai", "--runs-dir", str(tmp_path)]) == 2
    assert "did you mean 'ray'?" in capsys.readouterr().err


def test_less_than_one_process_is_refused(capsys, tmp_path):
    assert main(["bench", "--suite", "toy", "--workers", "0", "--runs-dir", str(tmp_path)]) == 2
    assert "workers of 1 or more" in capsys.readouterr().err
