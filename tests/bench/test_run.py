from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bench.kept
import bench.player
from bench.errors import StoreMismatch, UsageError
from bench.kept import build_once
from bench.records import RunStore
from bench.run import outstanding_errors, run
from bench.speed import time_variants
from bench.variants import build, make_variants
from policies.scripted import ToyScripted

MEASURED = ("latencies_ms", "wall_s", "peak_rss_bytes", "recording_s", "finished")
"""Fields of a record that a clock or the system decides."""


class Killed(BaseException):
    """In place of a signal that cannot be caught."""


def facts(store: RunStore) -> list[dict]:
    return [{k: v for k, v in r.to_json().items() if k not in MEASURED}
            for r in sorted(store.records(), key=lambda r: r.key)]


def lines(store: RunStore) -> list[dict]:
    return [json.loads(line) for line in store.folder.episodes.read_text().splitlines()]


def test_a_run_measures_every_episode_of_every_variant(vla_spec, open_store):
    with open_store(vla_spec) as store:
        assert run(vla_spec, store, shown=False) == set()
        assert store.keys() == set(vla_spec.episodes())
        for record in store.records():
            baseline = record.key.variant_id == vla_spec.variants[0].variant_id
            assert (record.drift is None) == baseline
            assert (store.folder.root / record.trace).is_file()
            assert store.folder.observations(record.key).is_file()
        for variant in vla_spec.variants:
            audit = json.loads(store.folder.audit(variant.variant_id).read_text())
            assert (audit["backend"] == "none") == variant.baseline


def test_full_precision_succeeds_and_weights_of_eight_bits_change_it_little(open_store, vla_spec):
    spec = dataclasses.replace(vla_spec, variants=make_variants("toy-vla", ["rtn:w8"]))
    with open_store(spec) as store:
        run(spec, store, shown=False)
        assert {r.outcome for r in store.records()} == {"success"}
        drifts = [r.drift["teacher_forced"]["l2_mean"] for r in store.records() if r.drift]
        assert all(0 < d < 0.1 for d in drifts)


def test_a_variant_that_computes_the_same_has_no_drift(vla_spec, open_store, monkeypatch):
    """Closed loop A/A: the same network under another name repeats every trajectory exactly."""
    monkeypatch.setattr(bench.player, "build_once", lambda variant, folder: build(vla_spec.variants[0]))
    with open_store(vla_spec) as store:
        run(vla_spec, store, shown=False)
        for record in store.records():
            if record.drift:
                forced = record.drift["teacher_forced"]
                assert (forced["l2_mean"], forced["gripper_flips"], forced["cumulative_translation_mm"]) == (0, 0, 0)
                assert record.drift["first_divergence_step"] is None and record.drift["final_distance_mm"] == 0
        half = [[{k: v for k, v in f.items() if k not in ("key", "drift", "trace")} for f in facts(store)
                 if f["key"]["variant_id"] == variant.variant_id] for variant in vla_spec.variants]
        assert half[0] == half[1]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(1, 200)), min_size=1, max_size=3))
def test_a_run_that_was_killed_anywhere_ends_like_one_that_was_not(vla_spec, tmp_path_factory, make_header, kills):
    folder = tmp_path_factory.mktemp("killed")
    with RunStore(folder / "whole", make_header(vla_spec)) as store:
        run(vla_spec, store, shown=False)
        expected = facts(store)

    for survived, before_append, torn in kills:
        with RunStore(folder / "killed", make_header(vla_spec)) as store:
            kill_after(store, survived, before_append)
            try:
                run(vla_spec, store, shown=False)
            except Killed:
                pass
        tear_last_line(store, torn)
    with RunStore(folder / "killed", make_header(vla_spec)) as store:
        assert run(vla_spec, store, shown=False) == set()
        assert facts(store) == expected
        assert len(lines(store)) == len(expected)
        for key in vla_spec.episodes():
            killed, whole = (pq.read_table(folder / name / store.folder.trace(key).relative_to(store.folder.root))
                             for name in ("killed", "whole"))
            assert killed.equals(whole)


def kill_after(store: RunStore, survived: int, before_append: bool) -> None:
    """Die at the episode after `survived` more, just before or just after its record is written."""
    append, count = store.append, [0]

    def dying(record):
        count[0] += 1
        if count[0] > survived and before_append:
            raise Killed
        append(record)
        if count[0] > survived:
            raise Killed

    store.append = dying


def tear_last_line(store: RunStore, length: int) -> None:
    """Cut the end off the records, as when the machine lost power in the middle of a write."""
    content = store.folder.episodes.read_bytes()
    last = len(content) - (content[:-1].rfind(b"\n") + 1)
    store.folder.episodes.write_bytes(content[:len(content) - min(length, last)])


def test_an_error_is_no_failure_and_is_retried(scripted_spec, open_store, monkeypatch):
    plan = ToyScripted._plan

    def broken(self, observation):
        if np.isclose(observation.privileged["target"], first_target).all():
            raise RuntimeError("lost the cube")
        return plan(self, observation)

    from envs.toy import open_task
    first_target = open_task("toy", 0, 16, "none", True).reset(1, 0).privileged["target"]
    monkeypatch.setattr(ToyScripted, "_plan", broken)
    with open_store(scripted_spec) as store:
        (missing,) = run(scripted_spec, store, shown=False)
        (error,) = outstanding_errors(store)
        assert (missing.task, missing.init_state) == (0, 1) and error.key == missing
        assert "lost the cube" in error.reason
        assert [r.outcome for r in store.records()].count("success") == 3
    monkeypatch.setattr(ToyScripted, "_plan", plan)
    with open_store(scripted_spec) as store:
        assert run(scripted_spec, store, shown=False) == set()
        assert [line["outcome"] for line in lines(store)].count("error") == 1
        assert outstanding_errors(store) == []


def test_a_variant_waits_for_its_full_precision_partner(vla_spec, open_store, monkeypatch):
    from policies.toy_vla import ToyVLA

    act, broken = ToyVLA.act, [True]

    def failing(self, observations):
        if broken[0] and "blue" in observations[0].instruction:
            raise RuntimeError("cannot see blue")
        return act(self, observations)

    monkeypatch.setattr(ToyVLA, "act", failing)
    with open_store(vla_spec) as store:
        missing = run(vla_spec, store, shown=False)
        assert {key.task for key in missing} == {1} and len(missing) == 4
        assert len(outstanding_errors(store)) == 2
    broken[0] = False
    with open_store(vla_spec) as store:
        assert run(vla_spec, store, shown=False) == set()


def test_nan_from_the_quantized_policy_is_an_error_of_that_variant_alone(vla_spec, open_store, monkeypatch):
    def spoiled(variant):
        policy, audit = build(variant)
        if not variant.baseline:
            policy.module.action_head.bias.data[3] = float("nan")
        return policy, audit

    monkeypatch.setattr(bench.kept, "build", spoiled)
    with open_store(vla_spec) as store:
        missing = run(vla_spec, store, shown=False)
        assert {key.variant_id for key in missing} == {vla_spec.variants[1].variant_id}
        assert all("not finite" in record.reason for record in outstanding_errors(store))


def test_adding_trials_keeps_what_was_measured(scripted_spec, open_store):
    with open_store(scripted_spec) as store:
        run(scripted_spec, store, shown=False)
        before = facts(store)
    more = dataclasses.replace(scripted_spec, trials=3)
    with open_store(more) as store:
        run(more, store, shown=False)
        assert [f for f in facts(store) if f["key"]["init_state"] < 2] == before
        assert len(store.keys()) == 6


def test_a_layer_that_the_method_cannot_quantize_fails_the_run_unless_allowed(vla_spec, open_store, monkeypatch):
    def unsupported(variant):
        policy, audit = build(variant)
        audit["layers"][0]["status"], audit["layers"][0]["reason"] = "unsupported", "its weight is shared"
        return policy, audit

    monkeypatch.setattr(bench.kept, "build", unsupported)
    with open_store(vla_spec) as store, pytest.raises(UsageError, match="allow-unsupported"):
        run(vla_spec, store, shown=False)
    allowed = dataclasses.replace(vla_spec, allow_unsupported=True)
    with open_store(allowed, "allowed") as store:
        assert run(allowed, store, shown=False) == set()


def test_a_run_does_not_go_on_with_another_quantization(vla_spec, open_store, monkeypatch):
    with open_store(vla_spec) as store:
        run(vla_spec, store, shown=False)

    def recalibrated(variant, folder):
        policy, audit = build_once(variant, folder)
        return policy, {**audit, "calibration_digest": "other"}

    monkeypatch.setattr(bench.player, "build_once", recalibrated)
    more = dataclasses.replace(vla_spec, trials=3)
    with open_store(more) as store, pytest.raises(StoreMismatch, match="calibration_digest"):
        run(more, store, shown=False)


def test_only_integer_arithmetic_gets_a_speed_up(vla_spec, open_store):
    spec = dataclasses.replace(vla_spec, trials=1, variants=make_variants("toy-vla", ["rtn:w8a8", "rtn:w4"]))
    fp, integer, reference = (v.variant_id for v in spec.variants)
    with open_store(spec) as store:
        run(spec, store, shown=False)
        assert time_variants(spec, store) == []
        timing = json.loads(store.folder.timing("cpu").read_text())
        stamp = store.folder.timing("cpu").stat().st_mtime_ns
        time_variants(spec, store)
        assert store.folder.timing("cpu").stat().st_mtime_ns == stamp
    assert set(timing["variants"]) == {fp, integer, reference} and set(timing["speedup"]) == {integer, reference}
    assert timing["speedup"][integer]["low"] <= timing["speedup"][integer]["median"]
    assert timing["speedup"][reference]["median"] is None and "reference" in timing["speedup"][reference]["reason"]
    assert len(timing["variants"][fp]["samples_ms"]) == timing["rounds"]


def test_init_state_zero_of_every_task_is_filmed_if_asked_for(scripted_spec, open_store):
    spec = dataclasses.replace(scripted_spec, video=True)
    with open_store(spec) as store:
        run(spec, store, shown=False)
        for key in spec.episodes():
            assert store.folder.frames(key).is_file() == (key.init_state == 0)
