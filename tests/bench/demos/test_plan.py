"""Seeds, terms and what may be asked for."""

from __future__ import annotations

import pytest

from bench.demos import plan
from bench.demos.drivers import describe
from bench.errors import UsageError


def test_no_two_episodes_share_a_seed_across_suites_tasks_and_rounds(tmp_path):
    seeds = [task.seed(number) for suite in ("libero_object", "libero_goal") for round_number in range(2)
             for task in plan.select(tmp_path, round_number, [suite]) for number in range(40)]
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 10 * 40 and all(0 <= seed < 2**31 for seed in seeds)


def test_a_round_keeps_the_terms_it_was_begun_with(tmp_path):
    plan.agree(tmp_path, 1, plan.RoundTerms("pocket-oft abc", 0.3, "sha256:a"))
    assert plan.terms(tmp_path, 1).driver == "pocket-oft abc"
    with pytest.raises(UsageError, match=r"round 1 .* begun with driver 'pocket-oft abc', now it is 'expert'"):
        plan.agree(tmp_path, 1, plan.RoundTerms("expert", 0.3, "sha256:a"))
    with pytest.raises(UsageError, match=r"has no round 7; there are: round1; make pocket-data ROUND=7"):
        plan.terms(tmp_path, 7)


@pytest.mark.parametrize(("number", "suites", "indices", "words"), [
    (0, ["libero_objet"], None, "did you mean 'libero_object'"), (0, ["libero_goal"], [10], "tasks 0..9, got 10"),
    (-1, ["libero_goal"], None, "rounds count from 0"), (0, [], None, "no suite is named"),
])
def test_what_does_not_exist_is_named_with_what_does(tmp_path, number, suites, indices, words):
    with pytest.raises(UsageError, match=words):
        plan.select(tmp_path, number, suites, indices)


def test_a_driver_is_remembered_by_its_weights_and_an_unknown_one_is_refused(tmp_path):
    assert describe("expert") == "expert" and describe("pocket-oft").startswith("pocket-oft ")
    with pytest.raises(UsageError, match="did you mean 'pocket-oft'"):
        describe("poket-oft")
    with pytest.raises(UsageError, match=r"config\.json is missing"):
        describe(f"pocket-oft:{tmp_path}")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    assert describe(f"pocket-oft:{tmp_path}") != describe("pocket-oft")
