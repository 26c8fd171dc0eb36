from __future__ import annotations

import json

import pytest

from bench.cli import main
from reports.load import load_run
from reports.table import results
from reports.timings import WrongTiming, attach_timing, timing_facts

IDENTITIES = {
    "fp00": {"policy": "pocket", "weights": "w", "method": "fp", "config": {"method": "fp"}},
    "rtn4": {"policy": "pocket", "weights": "w", "method": "rtn:bits=4", "config": {"method": "rtn", "weight_bits": 4}},
    "qvla": {"policy": "pocket", "weights": "w", "method": "qvla", "config": {"method": "qvla", "target_bits": 4.0,
                                                                             "activation_bits": 8}},
}


def timing(**changes) -> dict:
    """What `qvla-bench time` writes; the figures are a sample."""
    def sample(ms: float) -> dict:
        return {"median_ms": ms, "p95_ms": ms, "samples_ms": [ms]}

    content = {
        "schema_version": 1, "device": "orin", "threads": 1, "rounds": 1,
        "variants": {"fp00": sample(80.0), "qvla": sample(40.0)},
        "speedup": {"qvla": {"median": 2.0, "low": 1.9, "high": 2.1}},
        "identities": {vid: IDENTITIES[vid] for vid in ("fp00", "qvla")},
        "facts": {"name": "NVIDIA Jetson AGX Orin Developer Kit", "power_mode": "MAXN"}, "during": {"reason": "sample"},
        "energy": {"fp00": {"mj_per_decision": None, "reason": "orin tells no power"},
                   "qvla": {"mj_per_decision": 900.0}},
        "stages": {"qvla": {"preprocess_ms": [1.0, 2.0, 3.0], "inference_ms": [30.0], "postprocess_ms": [0.5]}},
        "memory": {"qvla": {"bytes": 7_000_000}, "fp00": {"bytes": None, "reason": "no room to look"}},
        "estimates": {"fp00": {"ms": 30.0, "peaks": "a brief"}, "qvla": {"ms": 8.0, "peaks": "a brief"}}}
    return {**content, **changes}


@pytest.fixture
def identified(run_folder):
    """A run whose header states the identities of its variants."""
    path = run_folder / "header.json"
    header = json.loads(path.read_text())
    header["spec"]["variants"] = [IDENTITIES[v["variant_id"]] for v in header["variants"]]
    path.write_text(json.dumps(header))
    return run_folder


def written(tmp_path, **changes):
    path = tmp_path / "orin.json"
    path.write_text(json.dumps(timing(**changes)))
    return path


def test_a_timing_of_the_same_variants_becomes_columns_beside_their_success(identified, tmp_path, capsys):
    file = written(tmp_path)
    assert main(["report", str(identified), "--timings", str(file)]) == 0
    assert "2.00×" in capsys.readouterr().out
    table = results(load_run(identified))
    qvla = table.frame.loc["qvla"]
    assert (qvla["timed_ms_orin"], qvla["speedup_orin"], qvla["energy_mj_orin"], qvla["estimate_ms_orin"]) == (
        40.0, 2.0, 900.0, 8.0)
    assert table.reasons["fp00", "energy_mj_orin"] == "not measured: orin tells no power"
    assert table.reasons["rtn4", "timed_ms_orin"].startswith("not measured")
    assert table.links["qvla", "energy_mj_orin"] == "timings/orin.json"
    (name, text), = timing_facts(load_run(identified))
    assert name == "Timed on orin" and "power_mode = MAXN" in text and "peaks of the estimate: a brief" in text
    page = (identified / "report.md").read_text()
    assert "## Timing on orin" in page and "Estimate: at least ms" in page
    assert (qvla["preprocess_ms_orin"], qvla["inference_ms_orin"], qvla["postprocess_ms_orin"]) == (2.0, 30.0, 0.5)
    assert qvla["device_bytes_orin"] == 7_000_000
    assert table.reasons["fp00", "device_bytes_orin"] == "not measured: no room to look"
    assert table.reasons["rtn4", "inference_ms_orin"].startswith("not measured: the stages of a decision on orin")


def test_attaching_the_same_file_twice_is_once(identified, tmp_path):
    file = written(tmp_path)
    assert attach_timing(identified, file).read_bytes() == attach_timing(identified, file).read_bytes()


@pytest.mark.parametrize(("changes", "words"), [
    ({"identities": {"rtn9": IDENTITIES["rtn4"]}}, "has timed rtn9 .* which .* has not"),
    ({"identities": {"qvla": {**IDENTITIES["qvla"], "weights": "x"}}}, "another network by qvla: weights differ"),
    ({"identities": {"qvla": {**IDENTITIES["qvla"], "config": {}}}}, "another network by qvla: config differ"),
    ({"schema_version": 2}, "no timing of schema_version 1"), ({"speedup": None, "variants": None}, "cannot be read"),
])
def test_a_timing_of_something_else_is_refused(identified, tmp_path, changes, words):
    file = written(tmp_path, **changes)
    if words == "cannot be read":
        file.write_text("{")
    with pytest.raises(WrongTiming, match=words):
        attach_timing(identified, file)
    assert not (identified / "timings").exists()


def test_another_timing_on_the_same_device_is_not_replaced(identified, tmp_path):
    attach_timing(identified, written(tmp_path))
    with pytest.raises(WrongTiming, match="another timing on orin"):
        attach_timing(identified, written(tmp_path, rounds=2))


def test_the_setting_is_written_as_papers_do(identified):
    assert list(results(load_run(identified)).frame["setting"]) == ["FP", "W4A16", "W4A8"]
