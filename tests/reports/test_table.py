import json

import pytest

from reports.load import load_run
from reports.table import is_complete, results, results_frame, tasks_frame


def test_the_rows_of_the_table_equal_figures_worked_out_by_hand(timed_folder):
    frame = results_frame(load_run(timed_folder))
    assert list(frame.index) == ["fp00", "rtn4", "qvla"]
    fp, rtn, qvla = (frame.loc[v] for v in frame.index)
    assert (fp["Spatial"], fp["Object"], fp["average"]) == (100.0, 75.0, 87.5)
    assert (rtn["Spatial"], rtn["Object"], rtn["average"]) == (50.0, 75.0, 62.5)
    assert (rtn["difference_points"], qvla["difference_points"]) == (-25.0, 12.5)
    assert (rtn["successes"], rtn["n"], rtn["errors"]) == (4, 6, 0)
    assert (rtn["pairs"], rtn["repaired"], rtn["regressed"], rtn["mcnemar_p"]) == (6, 1, 2, 1.0)
    assert (rtn["wilson95_low"], rtn["wilson95_high"]) == pytest.approx((29.999, 90.323), abs=1e-3)
    assert (rtn["storage_bytes"], rtn["memory_gb"], rtn["memory_mb"]) == (6_000_000, 0.006, 6.0)
    assert (rtn["storage_percent"], rtn["held_percent"], rtn["component_percent"]) == (25.0, 25.0, 25.0)
    assert (rtn["mean_bits"], rtn["latency_ms_median"], rtn["latency_ms_p95"]) == (4.0, 20.0, 30.0)
    assert (qvla["speedup_cpu"], qvla["speedup_cpu_low"], qvla["speedup_cpu_high"]) == (1.31, 1.25, 1.37)
    assert (qvla["timed_ms_cpu"], rtn["timed_ms_cpu"]) == (11.0, None)
    assert (qvla["timed_ms_p90_cpu"], qvla["timed_ms_p99_cpu"]) == pytest.approx((11.8, 11.98))
    assert (rtn["latency_ms_p90"], rtn["latency_ms_p99"]) == (30.0, 30.0)
    assert (rtn["peak_process_bytes"], rtn["peak_device_bytes"], rtn["recording_percent"]) == (1000, None, None)


def test_drift_weighs_episodes_by_their_decisions(run_folder):
    rtn = results_frame(load_run(run_folder)).loc["rtn4"]
    # x: (0*1 + 1*2 + 2*3 + 3*4 + 4*5 + 5*6) / 21
    assert rtn["drift_translation_x_mm"] == pytest.approx(70 / 21)
    assert rtn["drift_translation_mm"] == pytest.approx((70 / 21 + 2 + 4) / 3)
    assert rtn["drift_rotation_deg"] == pytest.approx(0.2)
    assert (rtn["gripper_flips"], rtn["drift_decisions"]) == (12, 21)
    assert rtn["gripper_flips_per_100_actions"] == pytest.approx(100 * 12 / 168)


def test_episodes_that_never_diverged_are_later_than_any_that_did(run_folder):
    table = results(load_run(run_folder))
    assert table.frame.loc["rtn4", "first_divergence_step_median"] == 7.5
    assert table.frame.loc["qvla", "first_divergence_step_median"] is None
    assert table.reasons["qvla", "first_divergence_step_median"] == "at least half of the episodes never diverged"
    assert table.frame.loc["qvla", "diverged_episodes"] == 2


def test_absence_is_none_with_a_reason_and_never_a_number(run_folder):
    (run_folder / "audits" / "rtn4.json").unlink()
    table = results(load_run(run_folder))
    empty = {(v, c) for v in table.frame.index for c in table.frame.columns if table.frame.loc[v, c] is None}
    assert empty == set(table.reasons)
    assert not table.frame.map(lambda value: isinstance(value, float) and value != value).any(axis=None)
    assert table.reasons["rtn4", "storage_bytes"] == "the run has no audit of this variant"
    assert table.reasons["qvla", "speedup_cpu"].startswith("not measured")
    assert table.frame.loc["fp00", "difference_points"] is None


def test_a_speed_up_that_cannot_be_had_keeps_its_reason(timed_folder):
    table = results(load_run(timed_folder))
    assert table.frame.loc["rtn4", "speedup_cpu"] is None
    assert table.reasons["rtn4", "speedup_cpu"] == "not measured: no integer kernel"


def test_gripper_flips_have_no_rate_without_a_count_of_actions(run_folder, make_record):
    record = make_record("rtn4", 0)
    del record["drift"]["teacher_forced"]["actions"]
    (run_folder / "episodes.jsonl").write_text(json.dumps(record) + "\n")
    table = results(load_run(run_folder))
    assert table.frame.loc["rtn4", "gripper_flips"] == 2
    assert table.frame.loc["rtn4", "gripper_flips_per_100_actions"] is None


def test_errors_are_counted_apart_and_never_in_n(run_folder, append, make_record):
    before = results_frame(load_run(run_folder)).loc["qvla"]
    crash = make_record("qvla", 0, outcome="error", reason="crash")
    crash["key"]["init_state"] = 7
    append(run_folder, crash)
    run = load_run(run_folder)
    after = results_frame(run).loc["qvla"]
    assert (after["errors"], after["n"], after["average"]) == (1, before["n"], before["average"])
    assert not is_complete(run)


def test_the_difference_is_over_the_episodes_that_both_finished(run_folder, make_record):
    records = [make_record("fp00", i) for i in range(4)] + [make_record("rtn4", i) for i in range(2)]
    (run_folder / "episodes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    rtn = results_frame(load_run(run_folder)).loc["rtn4"]
    assert (rtn["pairs"], rtn["difference_points"], rtn["regressed"]) == (2, -50.0, 1)


def test_a_suite_that_a_variant_has_not_begun_leaves_it_without_an_average(run_folder, make_record):
    records = [make_record("fp00", i) for i in range(6)] + [make_record("rtn4", 0)]
    (run_folder / "episodes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    table = results(load_run(run_folder))
    assert table.frame.loc["rtn4", "Spatial"] is None and table.frame.loc["rtn4", "average"] is None
    assert "libero_spatial" in table.reasons["rtn4", "average"]


def test_a_run_is_complete_when_every_variant_has_the_planned_episodes(run_folder):
    assert is_complete(load_run(run_folder))
    lines = (run_folder / "episodes.jsonl").read_text().splitlines(keepends=True)
    (run_folder / "episodes.jsonl").write_text("".join(lines[:-1]))
    assert not is_complete(load_run(run_folder))
    (run_folder / "episodes.jsonl").write_text("".join(lines[:-3]))
    assert not is_complete(load_run(run_folder))


def test_the_task_table_counts_successes_per_task(run_folder):
    frame = tasks_frame(load_run(run_folder)).set_index(["suite", "task", "variant_id"])
    assert list(frame.loc[("libero_object", 0, "rtn4"), ["successes", "n"]]) == [1, 2]
    assert list(frame.loc[("libero_object", 1, "fp00"), ["successes", "n"]]) == [1, 2]
    assert len(frame) == 9
