from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli import main
from bench.errors import StoreMismatch, UsageError
from bench.latency import DeviceLatency, FixedLatency, Paused, latency_of, parse_latency, ticks
from bench.protocol import PROTOCOLS
from bench.recorders import ObservationRecorder, TraceRecorder, load_observations
from bench.rollout import rollout
from bench.run import run
from bench.spec import BenchSpec
from bench.variants import make_variants
from envs.toy import open_task
from envs.types import OSC_POSE, ActionError
from policies.scripted import ToyScripted

OFT = PROTOCOLS["oft"]
VARIANTS = make_variants("toy-vla", ["aa", "rtn"])
BENCH = ["bench", "--suite", "toy", "--policy", "toy-scripted", "--threads", "1", "--quiet", "--no-video",
         "--no-doctor", "--trials", "1", "--run", "r"]


@pytest.fixture
def env():
    return open_task("toy", 0, 32, "none", privileged=True)


def fixed(ms: float) -> FixedLatency:
    return FixedLatency(f"fixed:{ms:g}", ms)


def climbing(call: int) -> np.ndarray:
    """A chunk whose actions can be told apart: decision c moves along x by c / 10 + h / 100, with closed fingers."""
    chunk = np.zeros((8, 7), np.float32)
    chunk[:, 0] = call / 10 + np.arange(8) / 100
    chunk[:, 6] = 1
    return chunk


@pytest.mark.parametrize(("ms", "steps"), [(0, 0), (1, 1), (50, 1), (50.1, 2), (150, 3), (0.1 * 3 * 1000 / 20, 1)])
def test_a_control_step_that_has_begun_counts(ms, steps):
    assert ticks(ms, 20.0) == steps


@given(st.integers(1, 10**4))
def test_whole_control_steps_are_exact(steps):
    assert ticks(steps * 50.0, 20.0) == steps and ticks(steps / 30 * 1000, 30.0) == steps


def test_the_old_plan_goes_on_while_the_policy_decides_and_then_the_arm_holds(env, key, still, tmp_path):
    """Look again after 4 of 8 actions; a decision takes 6 steps: 4 of the old plan, 2 without one."""
    protocol = dataclasses.replace(OFT, replan_every=4, max_steps={"toy": 26}, binarize_gripper=False)
    trace, seen = TraceRecorder(tmp_path / "t.parquet"), ObservationRecorder(tmp_path / "o.npz")
    record = rollout(env, still(answer=climbing), key, protocol, [trace, seen], latency=fixed(300))
    table = pq.read_table(tmp_path / "t.parquet").to_pydict()
    assert table["decision"] == [*[None] * 6, *[0] * 4, *[0] * 4, None, None, *[1] * 4, *[1] * 4, None, None]
    moves = [0] * 6 + [0.1 + h / 100 for h in range(8)] + [0] * 2 + [0.2 + h / 100 for h in range(8)] + [0] * 2
    assert table["a0"] == pytest.approx(moves)
    assert table["a6"] == [-1] * 6 + [1] * 20, "an object that is held must not be dropped by waiting"
    assert record.realtime == {"latency_ms": [300.0] * 3, "waited_steps": 18, "held_steps": 10, "deadline_misses": 3}
    assert (record.latency, record.steps) == ("fixed:300", 26)
    assert load_observations(tmp_path / "o.npz")[2].tolist() == [8, 8, 0]


def test_a_decision_without_duration_is_a_world_that_waits(env, key):
    waiting, instant = (rollout(env, ToyScripted(), key, OFT, latency=x) for x in (Paused(), fixed(0)))
    assert (waiting.outcome, waiting.steps) == (instant.outcome, instant.steps)
    assert waiting.realtime is None and instant.realtime["waited_steps"] == 0


def test_a_slow_device_turns_success_into_failure(env, key):
    records = [rollout(env, ToyScripted(), key, OFT, latency=fixed(ms)) for ms in (0, 40, 400, 1200)]
    assert [r.outcome for r in records] == ["success", "success", "success", "failure"]
    assert records[0].steps < records[1].steps < records[2].steps
    assert [r.realtime["deadline_misses"] for r in records[:3]] == [0, 0, len(records[2].latencies_ms)]


def test_an_action_that_no_robot_should_be_sent_is_an_error_also_while_waiting(env, key, still):
    def spoiled(call: int) -> np.ndarray:
        chunk = climbing(call)
        chunk[6, 1] = np.nan
        return chunk

    protocol = dataclasses.replace(OFT, replan_every=4, max_steps={"toy": 24})
    assert rollout(env, still(answer=spoiled), key, protocol).outcome == "failure"
    record = rollout(env, still(answer=spoiled), key, protocol, latency=fixed(300))
    assert record.outcome == "error" and ActionError.__name__ in record.reason


def test_measured_latencies_are_drawn_from_the_key_and_equal_for_every_variant(key):
    latency = DeviceLatency("device:x", {"a": (1.0, 2.0, 3.0, 4.0), "b": (10.0, 20.0, 30.0, 40.0)})
    of = {v: [latency.ms(dataclasses.replace(key, variant_id=v), d) for d in range(40)] for v in "ab"}
    assert [10 * ms for ms in of["a"]] == of["b"] and set(of["a"]) == {1, 2, 3, 4}
    other = dataclasses.replace(key, variant_id="a", init_state=key.init_state + 1)
    assert [latency.ms(other, d) for d in range(40)] != of["a"]


@pytest.mark.parametrize("text", ["fixed", "fixed:", "fixed:-1", "fixed:nan", "pausd", "device:", "device:nowhere"])
def test_what_is_no_latency_is_refused(text):
    with pytest.raises(UsageError, match="latency"):
        parse_latency(text, VARIANTS)


def test_the_times_of_a_run_are_those_of_another_runs_timing_file(tmp_path):
    fp, again, rtn = (v.variant_id for v in VARIANTS)
    path = tmp_path / "orin.json"
    path.write_text(json.dumps({"device": "orin", "variants": {fp: {"samples_ms": [90, 95]},
                                                              rtn: {"samples_ms": [40]}}}))
    config = parse_latency(f"device:{path}", VARIANTS)
    assert config["name"].startswith("device:orin@") and config["samples_ms"][again] == [90, 95]
    path.unlink()
    assert latency_of(json.loads(json.dumps(config))).samples_ms[rtn] == [40]
    path.write_text(json.dumps({"device": "orin", "variants": {fp: {"samples_ms": [90, 95]}}}))
    with pytest.raises(UsageError, match=f"none of {rtn}"):
        parse_latency(f"device:{path}", VARIANTS)
    path.write_text(json.dumps({"device": "rtx", "samples_ms": [7.0]}))
    assert latency_of(parse_latency(f"device:{path}", VARIANTS)).ms is not None
    path.write_text(json.dumps({"device": "rtx", "samples_ms": [7.0, -1]}))
    with pytest.raises(UsageError, match="finite samples"):
        parse_latency(f"device:{path}", VARIANTS)


def test_a_slow_full_precision_and_a_fast_variant_meet_in_the_success_rate(vla_spec, open_store):
    fp, rtn = (v.variant_id for v in vla_spec.variants)
    spec = dataclasses.replace(vla_spec, latency={"name": "device:x@0", "samples_ms": {fp: [1200.0], rtn: [5.0]}})
    assert BenchSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    found = []
    for name in ("one", "two"):
        with open_store(spec, name) as store:
            run(spec, store, shown=False)
            found.append({r.key: (r.outcome, r.steps, str(r.drift), str(r.realtime)) for r in store.records()})
    assert found[0] == found[1]
    assert {k.variant_id: o for k, (o, *_) in found[0].items()} == {fp: "failure", rtn: "success"}


def test_a_run_does_not_go_on_with_another_latency(scripted_spec, open_store):
    open_store(scripted_spec).close()
    with pytest.raises(StoreMismatch, match="latency: 'paused' in the folder, 'fixed:9' now"):
        open_store(dataclasses.replace(scripted_spec, latency=parse_latency("fixed:9", scripted_spec.variants)))


def test_the_latency_is_in_the_summary_and_above_the_table(capsys, tmp_path):
    assert main([*BENCH, "--runs-dir", str(tmp_path), "--latency", "fixed:120"]) == 0
    out = capsys.readouterr().out
    summary = json.loads(out.splitlines()[-1])
    (variant,) = summary["variants"].values()
    assert summary["latency"] == "fixed:120" and "latency fixed:120" in out
    assert variant["deadline_misses_percent"] == 100.0 and variant["held_steps_percent"] > 0
    assert OSC_POSE.control_hz == 20.0
