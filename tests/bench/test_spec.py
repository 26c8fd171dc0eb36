from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.spec import BenchSpec, EpisodeKey, PolicyVariant

FP = PolicyVariant("toy-vla", None, "fp", {"method": "fp"})
RTN = PolicyVariant("toy-vla", None, "rtn:w4", {"method": "rtn", "weight_bits": 4})
SPEC = BenchSpec("toy", (0, 1), (FP, RTN), 2, 0, "oft", "none", 1, 5.0, False, False, "none")

configs = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.booleans() | st.text(max_size=5)
                          | st.lists(st.integers(), max_size=3), max_size=3)
variants = st.builds(PolicyVariant, st.text(max_size=8), st.none() | st.text(max_size=8),
                     st.sampled_from(["rtn", "qvla:target_bits=4"]), configs)
specs = st.builds(
    BenchSpec, suite=st.sampled_from(["toy", "libero_object"]),
    tasks=st.sets(st.integers(0, 9), min_size=1).map(lambda s: tuple(sorted(s))),
    variants=st.lists(variants, max_size=3, unique_by=lambda v: v.variant_id).map(lambda v: (FP, *v)),
    trials=st.integers(1, 50), seed=st.integers(0, 2**32 - 1), protocol=st.just("oft"), assets=st.just("none"),
    threads=st.integers(1, 8), divergence_mm=st.floats(0.1, 100), video=st.booleans(), allow_unsupported=st.booleans(),
    stepping=st.sampled_from(["none", "fast", "exact"]))


@given(specs)
def test_a_spec_survives_json(spec):
    again = BenchSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert list(again.episodes()) == list(spec.episodes())


def test_another_name_of_a_suite_gives_the_same_keys_and_seeds():
    short, long = (dataclasses.replace(SPEC, suite=name) for name in ("libero_10", "libero_long"))
    assert long == short and long.suite == "libero_10"
    assert list(long.episodes()) == list(short.episodes())


@pytest.mark.parametrize("change", [{"speed": 1}, {"variants": [{**dataclasses.asdict(FP), "bits": 4}]}])
def test_an_unknown_key_is_an_error(change):
    with pytest.raises(UsageError, match="unknown"):
        BenchSpec.from_json({**SPEC.to_json(), **change})


def test_a_missing_key_is_an_error():
    data = SPEC.to_json()
    del data["seed"]
    with pytest.raises(UsageError, match="missing: \\['seed'\\]"):
        BenchSpec.from_json(data)


def test_what_is_younger_than_a_file_is_as_it_was_before_there_was_a_choice():
    data = SPEC.to_json()
    del data["batch"], data["stop"]
    assert BenchSpec.from_json(data) == SPEC


def test_the_baseline_comes_first_and_every_episode_once():
    keys = list(SPEC.episodes())
    assert [k.variant_id for k in keys[:4]] == [FP.variant_id] * 4
    assert len(set(keys)) == len(keys) == 8
    assert [(k.task, k.init_state) for k in keys[:4]] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@given(specs)
def test_episodes_of_two_variants_are_paired(spec):
    by_variant = [[k for k in spec.episodes() if k.variant_id == v.variant_id] for v in spec.variants]
    for other in by_variant[1:]:
        for mine, theirs in zip(by_variant[0], other, strict=True):
            assert mine.pair == theirs.pair
            assert (mine.env_seed(), mine.noise_key()) == (theirs.env_seed(), theirs.noise_key())


def test_different_episodes_have_different_seeds():
    keys = [EpisodeKey("v", suite, task, init, seed)
            for suite in ("toy", "libero_object") for task in range(10) for init in range(10) for seed in range(3)]
    assert len({k.env_seed() for k in keys}) == len(keys)
    assert len({k.noise_key() for k in keys}) == len(keys)


def test_seeds_are_the_same_on_every_machine():
    assert EpisodeKey("any", "toy", 1, 2, 3).env_seed() == 1842487763
    assert 0 <= EpisodeKey("any", "toy", 1, 2, 3).env_seed() < 2**31


def test_a_variant_is_named_by_what_it_computes_not_by_how_it_was_typed():
    same = dataclasses.replace(RTN, method="rtn:weight_bits=4")
    other_weights = dataclasses.replace(RTN, weights="abc")
    assert same.variant_id == RTN.variant_id != other_weights.variant_id
    assert RTN.variant_id.startswith("rtn-")


def test_more_trials_tasks_and_variants_extend_a_run():
    small = dataclasses.replace(SPEC, trials=1, tasks=(0,), variants=(FP,))
    assert SPEC.conflicts(small) == []
    assert len(small.conflicts(SPEC)) == 3


@pytest.mark.parametrize("change", [
    {"seed": 1}, {"protocol": "openvla"}, {"threads": 2}, {"divergence_mm": 1.0}, {"video": True},
    {"assets": "builtin"}, {"stepping": "exact"},
])
def test_any_other_change_makes_another_run(change):
    (reason,) = dataclasses.replace(SPEC, **change).conflicts(SPEC)
    assert reason.startswith(next(iter(change)))


@pytest.mark.parametrize("change", [
    {"variants": (RTN,)}, {"variants": ()}, {"variants": (FP, FP)}, {"tasks": ()}, {"tasks": (1, 0)}, {"trials": 0},
    {"threads": 0}, {"seed": -1}, {"divergence_mm": 0.0},
])
def test_illegal_specs_are_refused(change):
    with pytest.raises(UsageError):
        dataclasses.replace(SPEC, **change)
