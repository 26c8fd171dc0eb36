from __future__ import annotations

import json
import shutil

import pytest

from reports.load import load_run
from reports.merge import CannotMerge, merge_runs
from reports.provenance import notices
from reports.table import results
from reports.write import write_reports


@pytest.fixture
def halves(timed_folder, tmp_path):
    """Two runs: one with the episodes of libero_object, the other with those of libero_spatial."""
    made = []
    for suite in ("libero_object", "libero_spatial"):
        folder = tmp_path / suite
        shutil.copytree(timed_folder, folder)
        lines = (folder / "episodes.jsonl").read_text().splitlines(keepends=True)
        (folder / "episodes.jsonl").write_text("".join(line for line in lines if f'"{suite}"' in line))
        made.append(folder)
    return made


def change(folder, **fields):
    path = folder / "header.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_two_suites_become_one_table(halves, timed_folder, tmp_path):
    merged = load_run(merge_runs(halves, tmp_path / "merged"))
    frame, whole = results(merged).frame, results(load_run(timed_folder)).frame
    for name in ("Spatial", "Object", "average", "n", "successes", "repaired", "regressed", "memory_mb"):
        assert list(frame[name]) == list(whole[name]), name
    assert merged.header["merged_from"] == ["libero_object", "libero_spatial"]
    write_reports(tmp_path / "merged")
    assert "libero_object, libero_spatial" in (tmp_path / "merged" / "report.html").read_text()


def test_merging_again_replaces_what_was_merged_and_nothing_else(halves, timed_folder, tmp_path):
    merge_runs(halves, tmp_path / "merged")
    first = (tmp_path / "merged" / "episodes.jsonl").read_bytes()
    merge_runs(halves, tmp_path / "merged")
    assert (tmp_path / "merged" / "episodes.jsonl").read_bytes() == first
    with pytest.raises(CannotMerge, match="not merged; name another folder"):
        merge_runs(halves, timed_folder)


def test_an_episode_that_two_runs_share_counts_once(halves, timed_folder, tmp_path):
    merged = load_run(merge_runs([timed_folder, *halves], tmp_path / "merged"))
    assert len(merged.episodes) == len(load_run(timed_folder).episodes)


def test_an_episode_that_ended_differently_is_refused(halves, timed_folder, tmp_path):
    path = timed_folder / "episodes.jsonl"
    path.write_text(path.read_text().replace('"failure"', '"success"', 1))
    with pytest.raises(CannotMerge, match="ended differently in .*: outcome"):
        merge_runs([timed_folder, *halves], tmp_path / "merged", force=True)


@pytest.mark.parametrize("field", ["assets", "packages", "protocol", "renderer"])
def test_runs_of_two_kinds_are_refused_and_stamped_if_forced(halves, tmp_path, field):
    value = "egl" if field == "renderer" else {"name": "oft", "kind": "official", "numpy": "1.0"}
    change(halves[1], **{field: value})
    with pytest.raises(CannotMerge, match=f"{field} of libero_object and libero_spatial"):
        merge_runs(halves, tmp_path / "merged")
    merged = load_run(merge_runs(halves, tmp_path / "merged", force=True))
    assert "merged by force" in notices(merged)[0] and field in notices(merged)[0]


def test_a_run_from_before_there_was_a_choice_is_of_the_same_kind_and_other_sources_are_told(halves, tmp_path):
    header = json.loads((halves[1] / "header.json").read_text())
    change(halves[1], spec={**header["spec"], "device": "cpu", "batch": 1}, code={"bench": "b"}, commit="4567def")
    merged = load_run(merge_runs(halves, tmp_path / "merged"))
    assert "different sources of this project: libero_object with 0123abc, libero_spatial with 4567def" in " ".join(
        notices(merged))
    change(halves[1], spec={**header["spec"], "device": "cuda"})
    with pytest.raises(CannotMerge, match="spec device of libero_object and libero_spatial: cpu and cuda"):
        merge_runs(halves, tmp_path / "merged2")


def test_one_run_is_nothing_to_merge(halves, tmp_path):
    with pytest.raises(CannotMerge, match="at least two"):
        merge_runs(halves[:1], tmp_path / "merged")


def test_samples_are_pooled_and_a_speed_up_is_that_of_rounds(halves, tmp_path):
    for folder, (slow, fast) in zip(halves, ((10.0, 5.0), (30.0, 10.0)), strict=True):
        variants = {"fp00": {"median_ms": slow, "p95_ms": slow, "samples_ms": [slow]},
                    "qvla": {"median_ms": fast, "p95_ms": fast, "samples_ms": [fast]}}
        (folder / "timings" / "cpu.json").write_text(json.dumps({
            "device": "cpu", "variants": variants, "speedup": {"qvla": {"median": slow / fast, "low": 1, "high": 9},
                                                               "rtn4": {"median": None, "reason": "reference"}}}))
    merged = load_run(merge_runs(halves, tmp_path / "merged"))
    pooled = merged.timings["cpu"]
    assert pooled["variants"]["fp00"]["samples_ms"] == [10.0, 30.0]
    assert pooled["speedup"]["qvla"]["median"] == 2.5 and pooled["speedup"]["rtn4"]["reason"] == "reference"
