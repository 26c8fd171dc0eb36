"""Full precision against itself, and comparisons that end early."""

from __future__ import annotations

import dataclasses
import json

import pyarrow.parquet as pq
import pytest

import bench.kept
from bench.cli import main
from bench.run import run
from bench.schedule import wanted
from bench.variants import build, make_variants

CLOCKS = ("latencies_ms", "wall_s", "peak_rss_bytes", "recording_s", "finished")
COUNTS = ("decisions", "actions", "steps", "divergence_threshold_mm")
BENCH = ["bench", "--suite", "toy", "--threads", "1", "--quiet", "--no-video", "--no-doctor"]


def recorded(store, variant) -> list[dict]:
    """Everything that a record says but for clocks, and the names of the variant."""
    return [{k: v for k, v in r.to_json().items() if k not in (*CLOCKS, "key", "trace", "drift")} | {
        "pair": r.key.pair} for r in sorted(store.records(), key=lambda r: r.key)
        if r.key.variant_id == variant.variant_id]


def numbers(drift: object) -> list[float]:
    if isinstance(drift, dict):
        return [n for name, value in drift.items() if name not in COUNTS
                for n in numbers(value)]
    return [n for value in drift for n in numbers(value)] if isinstance(drift, list) else [drift or 0]


@pytest.mark.parametrize("policy", ["toy-vla", "toy-scripted"])
def test_full_precision_against_itself_differs_in_no_recorded_number(open_store, scripted_spec, policy):
    spec = dataclasses.replace(scripted_spec, variants=make_variants(policy, ["aa"]), trials=5)
    first, again = spec.variants
    with open_store(spec) as store:
        assert run(spec, store, shown=False) == set()
        assert recorded(store, first) == recorded(store, again)
        for key in wanted(spec, store):
            if key.variant_id == again.variant_id:
                traces = [pq.read_table(store.folder.trace(dataclasses.replace(key, variant_id=v.variant_id)))
                          for v in spec.variants]
                assert traces[0].equals(traces[1])
        drifts = [r.to_json()["drift"] for r in store.records() if r.key.variant_id == again.variant_id]
        assert len(drifts) == 10 and not any(n for d in drifts for n in numbers(d))


def test_one_flag_reports_the_noise_floor_beside_the_comparison(capsys, tmp_path):
    assert main([*BENCH, "--runs-dir", str(tmp_path), "--run", "r", "--aa", "--method", "rtn", "--trials", "2"]) == 0
    out = capsys.readouterr().out
    summary = json.loads(out.splitlines()[-1])
    assert summary["noise_floor"]["exactly_zero"] is True and summary["noise_floor"]["pairs"] == 4
    assert [v["method"] for v in summary["variants"].values()] == ["fp", "aa", "rtn"]
    assert [v["verdict"] for v in summary["variants"].values()] == [None, None, "undecided"]
    assert "full precision again" in out and "Noise floor" in out
    assert "Noise floor" in (tmp_path / "r" / "report.md").read_text()


def test_a_repetition_is_not_a_quantization(capsys):
    assert main(["quantize", "--policy", "toy-vla", "--method", "aa"]) == 2
    assert "not a quantization" in capsys.readouterr().err


def test_a_broken_variant_ends_its_comparison_and_the_rest_is_saved(open_store, vla_spec, monkeypatch):
    """The variant never closes its gripper: at a margin of 40 points the verdict is certain after a few rounds."""
    def spoiled(variant):
        policy, audit = build(variant)
        if not variant.baseline:
            policy.module.action_head.weight.data.zero_()
        return policy, audit

    monkeypatch.setattr(bench.kept, "build", spoiled)
    spec = dataclasses.replace(vla_spec, trials=10, stop="sequential")
    with open_store(spec) as store:
        assert run(spec, store, shown=False) == set()
        played = sorted(r.key.init_state for r in store.records())
        assert store.keys() == wanted(spec, store)
        assert 2 < max(played) + 1 < 10 and len(played) == 4 * (max(played) + 1)
        assert run(spec, store, shown=False) == set() and len(store.records()) == len(played)


def test_an_interrupted_comparison_ends_where_it_would_have_ended(open_store, vla_spec, monkeypatch):
    spec = dataclasses.replace(vla_spec, trials=10, stop="sequential", margin_points=40.0)
    with open_store(spec, "whole") as store:
        run(spec, store, shown=False)
        whole = {k: r.outcome for k, r in ((r.key, r) for r in store.records())}

    class Killed(BaseException):
        pass

    for survived in (3, 1, 4, 6):
        with open_store(spec, "cut") as store:
            append, left = store.append, [survived]

            def dying(record, append=append, left=left):
                append(record)
                left[0] -= 1
                if left[0] == 0:
                    raise Killed

            store.append = dying
            with pytest.raises(Killed):
                run(spec, store, shown=False)
    with open_store(spec, "cut") as store:
        run(spec, store, shown=False)
        assert {r.key: r.outcome for r in store.records()} == whole
    assert len(whole) < 40


def test_an_error_leaves_the_verdict_open_until_the_episode_is_repeated(open_store, vla_spec, monkeypatch):
    from policies.toy_vla import ToyVLA

    act, broken = ToyVLA.act, [True]

    def failing(self, observations):
        if broken[0] and "blue" in observations[0].instruction:
            raise RuntimeError("cannot see blue")
        return act(self, observations)

    monkeypatch.setattr(ToyVLA, "act", failing)
    spec = dataclasses.replace(vla_spec, trials=6, stop="sequential", margin_points=60.0)
    with open_store(spec) as store:
        assert len(run(spec, store, shown=False)) == 12
    broken[0] = False
    with open_store(spec) as store:
        assert run(spec, store, shown=False) == set()


@pytest.mark.parametrize(("options", "hint"), [
    (["--stop", "sequentia"], "did you mean 'sequential'?"), (["--margin", "0"], "0 < margin_points < 100"),
])
def test_what_is_not_legal_is_answered_with_what_is(capsys, tmp_path, options, hint):
    assert main([*BENCH, "--runs-dir", str(tmp_path), *options]) == 2
    assert hint in capsys.readouterr().err


def test_early_ends_are_reported_with_what_they_saved(capsys, tmp_path):
    assert main([*BENCH, "--runs-dir", str(tmp_path), "--run", "r", "--method", "rtn:w8", "--trials", "10", "--stop",
                 "sequential", "--margin", "40"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    saved = summary["sequential"]
    assert saved["planned"] == 40 and saved["saved"] > 0 and saved["needed"] + saved["saved"] == 40
    assert summary["complete"] is True
    assert [v["verdict"] for v in summary["variants"].values()] == [None, "non-inferior"]
    assert sum(v["n"] for v in summary["variants"].values()) == saved["needed"]
