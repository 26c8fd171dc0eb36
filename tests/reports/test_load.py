import json

import pytest

from reports.load import (
    CorruptRun,
    MixedLatencies,
    MixedProtocols,
    NotARunFolder,
    RunFolderError,
    UnsupportedSchema,
    load_run,
)


def test_the_baseline_comes_first_and_nothing_is_lost(timed_folder):
    run = load_run(timed_folder)
    assert [v.variant_id for v in run.variants] == ["fp00", "rtn4", "qvla"]
    assert len(run.episodes) == 18 and run.errors.empty
    assert set(run.audits) == {"fp00", "rtn4", "qvla"} and set(run.timings) == {"cpu"}
    assert run.baseline_of(run.variants[1]) is run.variants[0]


def test_a_run_without_timings_has_none(run_folder):
    assert load_run(run_folder).timings is None


def test_a_run_cut_off_before_its_first_episode_is_empty(run_folder):
    (run_folder / "episodes.jsonl").unlink()
    assert load_run(run_folder).episodes.empty


def test_an_error_is_superseded_by_an_episode_that_finished(run_folder, append, make_record):
    (run_folder / "episodes.jsonl").unlink()
    append(run_folder, make_record("fp00", 0, outcome="error", reason="crash"), make_record("fp00", 0))
    run = load_run(run_folder)
    assert len(run.episodes) == 1 and run.errors.empty


def test_repeated_errors_of_one_key_are_one_error(run_folder, append, make_record):
    (run_folder / "episodes.jsonl").unlink()
    append(run_folder, *(make_record("fp00", 0, outcome="error", reason=r) for r in ("first", "second")))
    run = load_run(run_folder)
    assert run.episodes.empty and list(run.errors["reason"]) == ["second"]


def test_a_folder_without_a_header_is_not_a_run(tmp_path):
    with pytest.raises(NotARunFolder, match=r"header\.json"):
        load_run(tmp_path)


def test_another_schema_version_is_refused(run_folder):
    header = json.loads((run_folder / "header.json").read_text())
    (run_folder / "header.json").write_text(json.dumps(header | {"schema_version": 2}))
    with pytest.raises(UnsupportedSchema, match="schema_version 2, legal is 1"):
        load_run(run_folder)


@pytest.mark.parametrize("text", ['{"key": {"vari', "[1]\n", '{"key": {}}\n', "\n"])
def test_a_corrupt_line_is_named_by_its_number(run_folder, append, text):
    append(run_folder, text)
    with pytest.raises(CorruptRun, match="line 19"):
        load_run(run_folder)


def test_unknown_outcomes_and_variants_are_named(run_folder, append, make_record):
    lines = (run_folder / "episodes.jsonl").read_text()
    append(run_folder, make_record("fp00", 0, outcome="won"))
    with pytest.raises(CorruptRun, match="'won', legal are success, failure, error"):
        load_run(run_folder)
    stranger = make_record("fp00", 0)
    stranger["key"]["variant_id"] = "other"
    (run_folder / "episodes.jsonl").write_text(lines)
    append(run_folder, stranger)
    with pytest.raises(CorruptRun, match="'other'"):
        load_run(run_folder)


def test_an_episode_that_finished_twice_is_refused(run_folder, append, make_record):
    append(run_folder, make_record("fp00", 0))
    with pytest.raises(CorruptRun, match="on line 1"):
        load_run(run_folder)


def test_a_broken_audit_is_named(run_folder):
    (run_folder / "audits" / "qvla.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"qvla\.json line 1"):
        load_run(run_folder)


def test_twenty_thousand_records_are_read(run_folder, make_record):
    record = make_record("fp00", 0, latencies_ms=[12.5] * 35)
    with (run_folder / "episodes.jsonl").open("w") as file:
        for seed in range(20_000):
            file.write(json.dumps(record | {"key": record["key"] | {"seed": seed}}) + "\n")
    assert len(load_run(run_folder).episodes) == 20_000


def test_episodes_of_another_protocol_are_refused(run_folder, append, make_record):
    (run_folder / "episodes.jsonl").unlink()
    append(run_folder, make_record("fp00", 0), make_record("fp00", 1, protocol="openpi"))
    with pytest.raises(MixedProtocols, match="line 2 was played by protocol 'openpi', the run by 'oft'"):
        load_run(run_folder)


def test_a_record_older_than_the_protocols_stamp_is_read(run_folder, append, make_record):
    record = make_record("fp00", 0)
    del record["protocol"]
    (run_folder / "episodes.jsonl").unlink()
    append(run_folder, record)
    assert len(load_run(run_folder).episodes) == 1


def test_episodes_of_another_latency_are_refused(run_folder, append, make_record):
    (run_folder / "episodes.jsonl").unlink()
    append(run_folder, make_record("fp00", 0), make_record("fp00", 1) | {"latency": "fixed:50"})
    with pytest.raises(MixedLatencies, match="line 2 was played with latency 'fixed:50', the run with 'paused'"):
        load_run(run_folder)
