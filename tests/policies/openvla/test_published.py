"""Names of checkpoints, and what is said where they are not here."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from bench.command import legal_policy
from bench.errors import UsageError
from bench.policies import policy_entry
from bench.variants import build, make_variants
from policies.errors import CheckpointMissing
from policies.openvla.published import OFT, OPENVLA, UNIVLA, recorded_revision
from policies.registry import POLICIES

REPOSITORY = "moojink/openvla-7b-oft-finetuned-libero-10"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """A hub that has nothing, and what it was asked for."""
    calls = []

    def download(repository, revision=None, allow_patterns=None, local_files_only=False):
        calls.append((repository, revision, local_files_only))
        raise FileNotFoundError("not in the cache") if local_files_only else ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return calls


def test_a_name_means_the_published_checkpoint_of_its_suite(asked):
    assert legal_policy("libero_10", "openvla-oft:libero_long") == "openvla-oft:libero_10"
    assert legal_policy("libero_goal", "openvla") == "openvla:libero_goal"
    for family, argument, repository in ((OFT, "libero_10", REPOSITORY),
                                         (OPENVLA, "libero_spatial", "openvla/openvla-7b-finetuned-libero-spatial"),
                                         (UNIVLA, "libero_goal", "qwbu/univla-7b-224-sft-libero")):
        with pytest.raises(CheckpointMissing, match=f"{repository} is not on this machine"):
            family.folder(argument)
        assert asked[-2:] == [(repository, None, True), (repository, None, False)]


def test_offline_the_message_says_what_to_download_and_where_to_put_it(asked):
    with pytest.raises(UsageError) as error:
        make_variants("openvla-oft:libero_long", ["fp"])
    for part in (f"hf download {REPOSITORY} --local-dir checkpoints/{REPOSITORY}", "no network",
                 "openvla-oft:libero_10=FOLDER"):
        assert part in str(error.value)


@pytest.mark.parametrize(("typed", "suite", "said"), [
    ("libero_spatil", None, "did you mean 'libero_spatial'"), ("no/such", None, "neither a suite .* nor a folder"),
    ("", "toy", "name one behind a colon"), ("", None, "name one behind a colon"),
    ("libero_10@", None, "is not whole"), ("libero_10=", None, "is not whole"),
    ("libero_10=nowhere", None, "no folder nowhere"), ("libero_goal", "libero_10", "for libero_goal, the run is of"),
])
def test_what_cannot_be_is_refused_with_what_can(typed, suite, said):
    with pytest.raises(UsageError, match=said):
        policy_entry(f"openvla-oft:{typed}", suite)


def test_a_folder_takes_the_suite_of_the_run(here):
    (here / "mine").mkdir()
    assert legal_policy("libero_10", "openvla-oft:mine") == "openvla-oft:libero_10=mine"
    assert policy_entry("openvla-oft:mine").argument == "=mine"
    assert legal_policy("libero_10", "openvla-oft:libero_long=mine") == "openvla-oft:libero_10=mine"
    assert OFT.folder("libero_10=mine") == here / "mine"


def test_a_folder_in_its_place_is_taken_before_the_hub_is_asked(here, asked):
    (here / "checkpoints" / REPOSITORY).mkdir(parents=True)
    assert OFT.folder("libero_10") == here / "checkpoints" / REPOSITORY and not asked


def test_another_revision_than_the_wanted_one_is_refused(here, asked):
    folder = here / "checkpoints" / REPOSITORY
    note = folder / ".cache" / "huggingface" / "download" / "config.json.metadata"
    note.parent.mkdir(parents=True)
    note.write_text("0123abcd\netag\n1.0\n")
    assert recorded_revision(folder) == "0123abcd" and recorded_revision(Path("a/snapshots/ff00")) == "ff00"
    assert OFT.folder("libero_10@0123") == folder
    with pytest.raises(CheckpointMissing, match="is of revision 0123abcd, wanted is 9999"):
        OFT.folder("libero_10@9999")
    with pytest.raises(CheckpointMissing, match="at revision v1 is not on this machine.*--revision v1"):
        OPENVLA.folder("libero_10@v1")


def test_a_repository_of_many_suites_is_searched_for_the_right_folder(here):
    parent = here / "checkpoints" / "qwbu/univla-7b-224-sft-libero"
    for name in ("univla-libero-10", "univla-libero-goal"):
        (parent / name).mkdir(parents=True)
        (parent / name / "config.json").write_text("{}")
    assert UNIVLA.folder("libero_goal") == parent / "univla-libero-goal"
    with pytest.raises(CheckpointMissing, match="0 checkpoints of libero_object"):
        UNIVLA.folder("libero_object")


def test_a_broken_checkpoint_is_said_as_a_usage_error_before_anything_is_played(here):
    (here / "mine").mkdir()
    (here / "mine" / "config.json").write_text('{"model_type": "llava"}')
    (variant,) = make_variants("openvla-oft:libero_10=mine", ["fp"])
    with pytest.raises(UsageError, match="policy 'openvla-oft:libero_10=mine'.*tokenizer.json|of type 'llava'"):
        build(variant)


def test_every_family_declares_what_its_published_evaluation_shows():
    from bench.protocol import PROTOCOLS

    for name, protocol in (("openvla", "openvla"), ("openvla-oft", "oft"), ("univla", "univla")):
        said = PROTOCOLS[protocol].deviations(name, POLICIES[name].trained_on)
        assert all(text.startswith(("placements", "noise")) for text in said), said
