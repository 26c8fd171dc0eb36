"""Names of policies with something behind a colon."""

from __future__ import annotations

import dataclasses

import pytest

from bench import command
from bench.command import legal_policy
from bench.errors import UsageError
from bench.policies import full_name, of_registry, policy_entry
from bench.saved import named_folder
from bench.variants import build, make_variants, weights_digest
from policies.errors import CheckpointMissing
from policies.registry import POLICIES

HERE = __name__


def doubled(typed: str, suite: str | None) -> str:
    if not typed and suite is None:
        raise ValueError("name a suite behind the colon")
    return f"{suite}={typed}" if suite and "=" not in typed else typed


def place(argument: str) -> str:
    raise CheckpointMissing(f"fetch {argument}")


class Taking:
    """A policy that is built with what its name has behind the colon."""

    name, image_size = "taking", 32

    def __init__(self, argument: str) -> None:
        self.argument = argument


@pytest.fixture
def family(monkeypatch):
    entry = dataclasses.replace(POLICIES["toy-scripted"], target=f"{HERE}:Taking", takes="a word", trained_on=None,
                                resolve=f"{HERE}:doubled")
    monkeypatch.setitem(POLICIES, "taking", entry)
    return entry


def test_what_stands_behind_the_colon_reaches_the_class_in_its_full_form(family):
    assert legal_policy("toy", "taking:word") == full_name("taking:word", "toy") == "taking:toy=word"
    (variant,) = make_variants("taking:toy=word", ["fp"])
    policy, audit = build(variant)
    assert variant.policy == "taking:toy=word" and policy.argument == "toy=word" and audit is None


def test_a_run_without_an_argument_gives_its_suite(family):
    assert legal_policy("toy", "taking") == "taking:toy="
    with pytest.raises(UsageError, match="policy 'taking': name a suite"):
        policy_entry("taking")


def test_a_name_that_takes_nothing_has_no_colon(family):
    with pytest.raises(UsageError, match="takes nothing behind a colon"):
        policy_entry("toy-vla:word")
    with pytest.raises(UsageError, match="did you mean 'taking'"):
        policy_entry("takin:word")


def test_a_path_behind_the_colon_is_not_taken_for_a_saved_variant(family):
    assert of_registry("taking:a/b") and named_folder("taking:a/b") is None
    assert str(named_folder("variants/a")) == "variants/a" and not of_registry("toy-vla:a/b")


def test_what_must_be_fetched_is_nobody_s_default(family, monkeypatch):
    family_first = {"taking": family} | dict(POLICIES)
    assert next(iter(family_first)) == "taking"
    monkeypatch.setattr(command, "POLICIES", family_first)
    assert legal_policy("toy", None) == "toy-vla"


def test_a_checkpoint_that_is_not_here_is_said_with_the_name_of_the_policy(family):
    entry = dataclasses.replace(family, folder=f"{HERE}:place", argument="x")
    with pytest.raises(UsageError, match="policy 'taking:x': fetch x"):
        weights_digest("taking:x", entry)
