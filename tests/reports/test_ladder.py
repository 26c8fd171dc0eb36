from __future__ import annotations

import json
import math

import numpy as np
import pytest

from reports.console import console_ladder
from reports.ladder import foretelling, ladder, separation
from reports.load import CorruptRun, load_run
from reports.rungs import ladder_json, ladder_tables


def forced(l2: float, actions: int) -> dict:
    return {"decisions": 1, "actions": actions, "translation_mm": [l2, 0.0, 0.0], "rotation_deg": [0.0, 0.0, l2],
            "gripper_flips": 1, "l2_mean": l2, "cumulative_translation_mm": l2,
            "summed_translation_mm": [-l2, 0.0, 0.0], "summed_rotation_deg": [0.0, 0.0, l2]}


def closed(distances: list[float]) -> dict:
    return {"steps": 8 * len(distances), "translation_mm": [1.0, 2.0, 3.0], "rotation_deg": [0.0, 0.0, 0.0],
            "mean_distance_mm": distances[0], "gripper_flips": 2, "chunk_end_mm": distances}


@pytest.fixture
def laddered(run_folder):
    """rtn4 has all figures: episode i drifts by i, and the failed ones (0 and 4) do so in turn."""
    lines = [json.loads(line) for line in (run_folder / "episodes.jsonl").read_text().splitlines()]
    seen = {}
    for record in lines:
        index = seen[record["key"]["variant_id"]] = seen.get(record["key"]["variant_id"], -1) + 1
        if record["key"]["variant_id"] == "rtn4":
            record["drift"] |= {"teacher_forced": forced(float(index), 10 * (index + 1)),
                                "closed_loop": closed([float(index + 1), 2.0 * (index + 1)])}
    (run_folder / "episodes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    return run_folder


def test_an_area_is_the_chance_that_the_failed_episode_drifted_more():
    found = separation([([3.0, 1.0], [2.0, 0.0])])
    assert (found.auc, found.failures, found.successes) == (0.75, 2, 2)
    assert separation([([1.0], [1.0])]).auc == 0.5 and separation([([1.0], [1.0])]).p_value == 1.0
    assert separation([([-3.0], [-math.inf, -math.inf])]).auc == 1.0
    assert separation([([1.0], [])]) is None


def test_a_method_that_is_worse_in_everything_does_not_make_its_episodes_foretell_each_other():
    """Between the two methods drift tells all; within each it says nothing."""
    random = np.random.default_rng(0)
    low, high = random.uniform(0, 1, 40), random.uniform(10, 11, 40)
    found = separation([(list(low[:2]), list(low[2:])), (list(high[:38]), list(high[38:]))])
    assert found.auc > 0.9 and found.p_value < 0.001
    assert found.auc_within == pytest.approx(0.5, abs=0.25)
    assert separation([([1.0], []), ([], [2.0])]).auc_within is None


def test_rungs_weigh_episodes_by_their_actions_and_steps(laddered):
    rungs = ladder(load_run(laddered))["rtn4"]
    weights = np.arange(1, 7) * 10
    assert rungs["teacher_forced"]["translation_mm"] == pytest.approx([np.average(range(6), weights=weights), 0, 0])
    assert rungs["teacher_forced"]["summed_translation_mm"] == pytest.approx([2.5, 0, 0])
    assert rungs["teacher_forced"]["flips_per_100"] == pytest.approx(100 * 6 / weights.sum())
    assert rungs["shadow"] is None
    assert rungs["closed_loop"]["translation_mm"] == [1.0, 2.0, 3.0]
    assert rungs["closed_loop"]["chunk_ends"] == [
        {"chunks": 1, "episodes": 6, "median_mm": 3.5, "p90_mm": 5.5},
        {"chunks": 2, "episodes": 6, "median_mm": 7.0, "p90_mm": 11.0}]


def test_the_teacher_in_control_is_read_from_its_own_files(laddered):
    path = laddered / "shadows" / "rtn4" / "libero_object-0-1-0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"repeated": True, **forced(2.0, 8)}))
    shadow = ladder(load_run(laddered))["rtn4"]["shadow"]
    assert (shadow["translation_mm"], shadow["episodes"], shadow["teacher_repeated"]) == ([2.0, 0.0, 0.0], 1, 1)
    path.write_text("{")
    with pytest.raises(CorruptRun, match="libero_object-0-1-0.json line 1"):
        ladder(load_run(laddered))


def test_only_episodes_that_full_precision_solves_can_be_foretold(laddered):
    found = foretelling(load_run(laddered))["teacher-forced, mean command"]
    # rtn4 fails episodes 0 and 4 and succeeds in 1, 2 and 5; full precision fails 3. qvla drifts 0.05 and succeeds.
    assert (found.failures, found.successes) == (2, 8)
    assert found.auc_within == pytest.approx(2 / 6)


def test_records_of_an_older_run_have_gaps_with_reasons_instead_of_rungs(run_folder):
    run = load_run(run_folder)
    assert ladder(run)["rtn4"] == {"teacher_forced": None, "shadow": None, "closed_loop": None}
    table = ladder_tables(run)[0]
    assert {cell.text for row in table.rows for cell in row[2:]} == {"–"} and len(table.notes) == 2


def test_the_ladder_is_plain_data_and_text(laddered):
    run = load_run(laddered)
    assert json.loads(json.dumps(ladder_json(run), allow_nan=False)) == ladder_json(run)
    text = console_ladder(laddered)
    assert "Drift ladder" in text and "Distance over time" in text and "AUC within" in text
