from __future__ import annotations

import json

import pytest

from reports.load import load_run
from reports.review.index import judge, review_index


@pytest.mark.parametrize(("baseline", "variant", "verdict"), [
    ("failure", "success", "repaired"), ("success", "failure", "regressed"), ("success", "success", "both succeeded"),
    ("failure", "failure", "both failed"), ("error", "success", "error"), ("success", "error", "error"),
    (None, "success", "not paired"), (None, "error", "error"),
])
def test_a_verdict_compares_an_outcome_with_that_of_full_precision(baseline, variant, verdict):
    assert judge(baseline, variant) == verdict


def test_a_group_holds_the_episodes_of_one_pair_key_baseline_first(run_folder):
    index = review_index(load_run(run_folder))
    assert [v["id"] for v in index["variants"]] == ["fp00", "rtn4", "qvla"]
    assert [v["reference"] for v in index["variants"]] == [None, 0, 0]
    assert len(index["groups"]) == 6
    task, init, seed, episodes = index["groups"][0]
    assert index["tasks"][task]["suite"] == "libero_object" and (init, seed) == (0, 0)
    assert [e[0] for e in episodes] == [0, 1, 2]
    verdicts = [None if e[6] is None else index["verdicts"][e[6]] for e in episodes]
    assert verdicts == [None, "regressed", "both succeeded"]
    assert [e[3] for e in episodes] == [None, 5, 5] and [e[5] for e in episodes] == [1, 2, 3]
    json.dumps(index, allow_nan=False)


def test_an_episode_that_ended_in_an_error_is_listed_with_its_reason(run_folder, append, make_record):
    key = {"variant_id": "rtn4", "suite": "libero_object", "task": 2, "init_state": 0, "seed": 0}
    append(run_folder, make_record("rtn4", 0, key=key, outcome="error", reason="it broke", drift=None))
    index = review_index(load_run(run_folder))
    episode = next(g[3][0] for g in index["groups"] if index["tasks"][g[0]]["task"] == 2)
    assert episode[1] == "error" and episode[7] == "it broke" and index["verdicts"][episode[6]] == "error"


def test_films_are_found_by_name(filmed_folder):
    groups = review_index(load_run(filmed_folder))["groups"]
    assert [[e[4] for e in g[3]] for g in groups[:2]] == [[1, 1, 0], [0, 0, 0]]
