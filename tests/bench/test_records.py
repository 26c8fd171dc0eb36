from __future__ import annotations

import dataclasses
import json

import pytest

from bench.errors import StoreCorrupt, StoreLocked, StoreMismatch
from bench.provenance import SOURCES, code
from bench.records import EpisodeRecord, RunStore


def test_a_record_survives_json(key, make_record):
    record = make_record(key, drift={"first_divergence_step": None})
    assert EpisodeRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_record_with_an_unknown_field_is_refused(key, make_record):
    with pytest.raises(TypeError, match="mood"):
        EpisodeRecord.from_json({**make_record(key).to_json(), "mood": "good"})


def test_what_was_appended_is_there_after_reopening(scripted_spec, open_store, make_record):
    keys = list(scripted_spec.episodes())
    with open_store(scripted_spec) as store:
        for key in keys[:2]:
            store.append(make_record(key))
    with open_store(scripted_spec) as store:
        assert store.keys() == set(keys[:2])


def test_an_error_is_not_done_and_its_retry_supersedes_it(scripted_spec, open_store, make_record):
    key = next(scripted_spec.episodes())
    with open_store(scripted_spec) as store:
        store.append(make_record(key, "error"))
        assert store.keys() == set()
        store.append(make_record(key, "failure"))
    with open_store(scripted_spec) as store:
        assert store.keys() == {key}
        assert [r.outcome for r in store.records()] == ["failure"]


def test_a_finished_episode_cannot_be_appended_again(scripted_spec, open_store, make_record):
    key = next(scripted_spec.episodes())
    with open_store(scripted_spec) as store:
        store.append(make_record(key))
        with pytest.raises(ValueError, match="finished already"):
            store.append(make_record(key))


def test_a_last_line_that_was_cut_off_is_dropped_wherever_it_was_cut(scripted_spec, open_store, make_record):
    first, second = list(scripted_spec.episodes())[:2]
    with open_store(scripted_spec) as store:
        path = store.folder.episodes
        store.append(make_record(first))
        whole = path.read_bytes()
        store.append(make_record(second))
        both = path.read_bytes()
    for length in (*range(len(whole), len(both), 37), len(both) - 1):
        path.write_bytes(both[:length])
        with open_store(scripted_spec) as store:
            assert store.keys() == {first}
            assert path.read_bytes() == whole


def test_a_broken_line_in_the_middle_is_named(scripted_spec, open_store, make_record):
    with open_store(scripted_spec) as store:
        store.append(make_record(next(scripted_spec.episodes())))
        path = store.folder.episodes
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(StoreCorrupt, match="line 1"):
        open_store(scripted_spec)


def test_a_second_runner_is_refused_until_the_first_lets_go(scripted_spec, open_store):
    with open_store(scripted_spec):
        with pytest.raises(StoreLocked, match="another process"):
            open_store(scripted_spec)
    open_store(scripted_spec).close()


def test_another_spec_is_refused_with_the_difference(scripted_spec, open_store):
    open_store(scripted_spec).close()
    with pytest.raises(StoreMismatch, match="seed: 0 in the folder, 7 now"):
        open_store(dataclasses.replace(scripted_spec, seed=7))


@pytest.mark.parametrize("change", [
    {"packages": {"torch": "2"}}, {"assets": {"kind": "none", "digest": "e"}}, {"renderer": "egl"},
])
def test_other_circumstances_are_refused_by_name(scripted_spec, make_header, tmp_path, change):
    RunStore(tmp_path / "run", make_header(scripted_spec)).close()
    with pytest.raises(StoreMismatch, match=next(iter(change))):
        RunStore(tmp_path / "run", make_header(scripted_spec, **change))


def test_a_refused_store_leaves_the_folder_unlocked_and_unchanged(scripted_spec, open_store):
    store = open_store(scripted_spec)
    store.close()
    before = store.folder.header.read_bytes()
    with pytest.raises(StoreMismatch):
        open_store(dataclasses.replace(scripted_spec, seed=7))
    assert store.folder.header.read_bytes() == before
    open_store(scripted_spec).close()


def test_more_trials_keep_the_records_and_every_start_is_noted(scripted_spec, open_store, make_record):
    key = next(scripted_spec.episodes())
    with open_store(scripted_spec) as store:
        store.append(make_record(key))
    with open_store(dataclasses.replace(scripted_spec, trials=3)) as store:
        assert store.keys() == {key}
        header = json.loads(store.folder.header.read_text())
    assert header["spec"]["trials"] == 3
    assert header["episodes_per_variant"] == 6
    assert len(header["starts"]) == 2


def test_a_store_made_by_other_code_is_refused_with_the_package_that_changed(scripted_spec, make_header, tmp_path):
    RunStore(tmp_path / "run", make_header(scripted_spec)).close()
    with pytest.raises(StoreMismatch, match="code: bench '1' in the folder, '2' now"):
        RunStore(tmp_path / "run", make_header(scripted_spec, code={"bench": "2"}))


def test_a_store_of_another_release_is_refused_and_not_called_a_wrong_command(scripted_spec, open_store):
    with open_store(scripted_spec) as store:
        header = json.loads(store.folder.header.read_text())
    del header["spec"]["seed"]
    store.folder.header.write_text(json.dumps(header))
    with pytest.raises(StoreMismatch, match=r"another release .*missing: \['seed'\]"):
        open_store(scripted_spec)


def test_the_digest_of_the_code_follows_every_source_file(tmp_path):
    for name in SOURCES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("1")
    before = code(tmp_path)
    (tmp_path / "envs" / "notes.md").write_text("not code")
    assert code(tmp_path) == before
    (tmp_path / "envs" / "a.py").write_text("2")
    after = code(tmp_path)
    assert [name for name in before if before[name] != after[name]] == ["envs"]
