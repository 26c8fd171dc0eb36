from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.display import variant_tables
from reports.load import load_run
from reports.markdown import markdown_table
from reports.provenance import notices
from reports.statistics import holm
from reports.summary import summary
from reports.table import is_complete, results
from reports.verdict import rounds_of, verdict

TASKS = 10


@pytest.fixture
def make_run(run_folder, make_record):
    """`make_run(outcomes, **spec)`: method -> outcome(task, trial); the baseline always succeeds."""
    def make(outcomes: dict, trials: int = 20, **spec) -> Path:
        header = json.loads((run_folder / "header.json").read_text())
        methods = {"fp00": "fp", **{f"v{i}": m for i, m in enumerate(outcomes)}}
        header["variants"] = [{"variant_id": v, "policy": "pocket", "method": m, "baseline": m == "fp"}
                              for v, m in methods.items()]
        header["spec"] = {"trials": trials, "tasks": list(range(TASKS)), **spec}
        header["episodes_per_variant"] = TASKS * trials
        lines = []
        for vid, method in methods.items():
            for trial in range(trials):
                for task in range(TASKS):
                    success = True if method == "fp" else outcomes[method](task, trial)
                    if success is None:
                        continue
                    record = make_record("fp00" if method == "fp" else "rtn4", 0)
                    record["key"] |= {"variant_id": vid, "task": task, "init_state": trial}
                    lines.append(json.dumps(record | {"outcome": "success" if success else "failure"}))
        (run_folder / "header.json").write_text(json.dumps(header))
        (run_folder / "episodes.jsonl").write_text("\n".join(lines) + "\n")
        return run_folder
    return make


def equal(task: int, trial: int) -> bool:
    return True


def broken(task: int, trial: int) -> bool:
    return (task + trial) % 4 > 0


def test_every_verdict_has_its_interval_its_margin_and_its_p(make_run):
    frame = results(load_run(make_run({"same": equal, "broken": broken}))).frame
    same, hurt = frame.loc["v0"], frame.loc["v1"]
    assert (same["verdict"], hurt["verdict"]) == ("non-inferior", "worse")
    assert (same["pairs"], same["repaired"], same["regressed"], same["margin_points"]) == (200, 0, 0, 2.0)
    assert same["difference_low"] < 0 < same["difference_high"]
    assert (hurt["difference_points"], hurt["regressed"]) == (-25.0, 50)
    assert hurt["difference_low"] < -25 < hurt["difference_high"] < 0
    assert same["pairs_for_margin"] == 133 < hurt["pairs_for_margin"]
    assert frame.loc["fp00", "verdict"] is None


def test_more_methods_ask_for_more_evidence(make_run):
    """Seven regressed of 200: p 0.0156 alone, 0.047 beside two that are equal, 0.11 beside six."""
    def little(task: int, trial: int) -> bool:
        return not (trial == 0 and task < 7)

    alone = results(load_run(make_run({"little": little}))).frame.loc["v0"]
    beside = results(load_run(make_run({"little": little} | {f"same{i}": equal for i in range(6)}))).frame.loc["v0"]
    assert alone["mcnemar_p"] == beside["mcnemar_p"] == 2 * 0.5**7
    assert beside["different_p"] == holm([2 * 0.5**7, *[1.0] * 6])[0]
    assert (alone["verdict"], beside["verdict"]) == ("worse", "undecided")


def test_the_margin_is_the_one_that_the_run_declared(make_run):
    wide = results(load_run(make_run({"same": equal}, trials=3, margin_points=15))).frame.loc["v0"]
    narrow = results(load_run(make_run({"same": equal}, trials=3, margin_points=1))).frame.loc["v0"]
    assert (wide["verdict"], narrow["verdict"]) == ("non-inferior", "undecided")
    assert narrow["pairs_for_margin"] == 268


@pytest.mark.parametrize(("difference", "different_p", "noninferior_p", "words"), [
    (0.1, 0.01, 0.0, "better"), (-0.1, 0.01, 1.0, "worse"), (-0.01, 0.01, 0.01, "worse, within margin"),
    (0.0, 1.0, 0.01, "non-inferior"), (0.0, 1.0, 0.2, "undecided"),
])
def test_the_words_follow_from_both_questions(difference, different_p, noninferior_p, words):
    assert verdict(difference, different_p, noninferior_p) == words


def test_full_precision_again_gets_no_verdict_and_costs_the_others_nothing(make_run):
    run = load_run(make_run({"aa": equal, "same": equal}))
    table = results(run)
    assert table.frame.loc["v0", "verdict"] is None and "itself" in table.reasons["v0", "verdict"]
    alone = results(load_run(make_run({"same": equal}))).frame.loc["v0", "noninferior_p"]
    assert table.frame.loc["v1", "noninferior_p"] == alone


def test_the_noise_floor_is_told_beside_every_comparison(make_run):
    def zero(path: Path) -> None:
        lines = [json.loads(line) for line in (path / "episodes.jsonl").read_text().splitlines()]
        for record in lines:
            if record["key"]["variant_id"] == "v0":
                forced = dict.fromkeys(record["drift"]["teacher_forced"], 0) | {
                    "decisions": 1, "actions": 8, "translation_mm": [0, 0, 0], "rotation_deg": [0, 0, 0]}
                record["steps"] = 20
                record["drift"] = {"teacher_forced": forced, "first_divergence_step": None,
                                   "divergence_threshold_mm": 5.0, "final_distance_mm": 0.0}
        (path / "episodes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))

    folder = make_run({"aa": equal, "same": equal}, trials=2)
    noisy = load_run(folder)
    assert summary(noisy, results(noisy))["noise_floor"]["exactly_zero"] is False
    assert any("20 of them diverged" in line for line in notices(noisy))
    zero(folder)
    quiet = load_run(folder)
    assert summary(quiet, results(quiet))["noise_floor"] == {
        "pairs": 20, "outcomes_changed": 0, "steps_changed": 0, "gripper_flips": 0, "diverged_episodes": 0,
        "greatest_drift": 0.0, "exactly_zero": True}
    assert any(line.startswith("Noise floor") and "Every difference below is the method's" in line
               for line in notices(quiet))
    without = load_run(make_run({"same": equal}))
    assert summary(without, results(without))["noise_floor"] is None


def test_a_run_that_could_stop_early_is_judged_by_what_holds_whenever_one_stops(make_run):
    def stopped(task: int, trial: int) -> bool | None:
        return broken(task, trial) if trial < 4 else None

    run = load_run(make_run({"same": equal, "broken": stopped}, stop="sequential"))
    table = results(run)
    assert list(table.frame.loc[["v0", "v1"], "verdict"]) == ["undecided", "worse"]
    assert table.frame.loc["v1", "mcnemar_p"] is None and "could end early" in table.reasons["v1", "mcnemar_p"]
    assert rounds_of(run, run.variants[2])[0] == (10, 0, 3) and len(rounds_of(run, run.variants[2])) == 4
    saved = summary(run, table)["sequential"]
    assert saved == {"planned": 600, "needed": 440, "saved": 160, "rounds": {"v0": 20, "v1": 4}}
    assert is_complete(run)
    assert any("160 were saved" in line for line in notices(run))


def test_a_comparison_that_could_end_early_waits_for_whole_rounds(make_run):
    def hole(task: int, trial: int) -> bool | None:
        return None if (task, trial) == (3, 2) else broken(task, trial)

    run = load_run(make_run({"broken": hole}, stop="sequential"))
    assert len(rounds_of(run, run.variants[1])) == 2


def test_the_verdict_is_in_the_tables(make_run):
    run = load_run(make_run({"same": equal, "broken": broken}))
    tables = variant_tables(run, results(run))
    assert "| non-inferior |" in markdown_table(tables[0])
    assert [t.title for t in tables][:3] == ["Results", "Evidence", "Verdict"]
