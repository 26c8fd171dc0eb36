"""The regression gate, on the toy world: quantize, make a baseline, check."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from bench.baseline import FLOORS, least_pairs, read_baseline
from bench.check import check
from bench.cli import main
from bench.errors import UsageError

RUN = ["--suite", "toy", "--threads", "1", "--quiet", "--no-video", "--no-doctor"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """Two saved variants, good and bad, and the baseline of the good one: ten episodes, a margin of 40 points."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("gate")
    for name, method in (("good", "rtn:w8"), ("bad", "rtn:w4")):
        assert main(["quantize", "--policy", "toy-vla", "--method", method, "--threads", "1", "--out",
                     str(root / name)]) == 0
    assert main(["baseline", *RUN, "--policy", str(root / "good"), "--trials", "5", "--margin", "40", "--runs-dir",
                 str(root / "runs"), "--run", "base", "--out", str(root / "baseline.json")]) == 0
    return root


def gate(workplace: Path, policy: str, *options: str) -> int:
    return main(["check", "--policy", str(workplace / policy), "--baseline", str(workplace / "baseline.json"),
                 "--runs-dir", str(workplace / "runs"), "--quiet", *options])


def test_a_baseline_holds_what_was_accepted_and_where_the_recordings_are(workplace):
    baseline = read_baseline(workplace / "baseline.json")
    assert len(baseline.outcomes) == 10 and all(baseline.outcomes.values())
    assert len(list(baseline.observations())) == len(baseline.recorded) == 2
    assert all(baseline.limits[name] >= max(value, FLOORS[name]) for name, value in baseline.accepted.items())


@pytest.mark.parametrize("mode", ["fast", "closed-loop"])
def test_the_gate_is_open_for_the_good_and_shut_for_the_bad(workplace, capsys, tmp_path, mode):
    files = ["--junit", str(tmp_path / "j.xml"), "--markdown", str(tmp_path / "s.md"), "--mode", mode]
    assert gate(workplace, "good", *files) == 0
    assert "passed" in capsys.readouterr().out
    assert ElementTree.parse(tmp_path / "j.xml").getroot().attrib["failures"] == "0"
    assert gate(workplace, "bad", *files) == 1
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) > 0
    assert suite.attrib["tests"] == str(len(suite.findall("testcase")))
    summary = (tmp_path / "s.md").read_text()
    assert capsys.readouterr().out == summary and "**FAILED**" in summary


def test_the_fast_mode_opens_no_environment(workplace, monkeypatch):
    import envs.toy

    monkeypatch.setattr(envs.toy, "open_task", lambda *args: pytest.fail("an environment was opened"))
    assert gate(workplace, "good") == 0


def test_without_enough_episodes_the_closed_loop_gate_does_not_even_begin(workplace, capsys, tmp_path):
    content = json.loads((workplace / "baseline.json").read_text())
    content["spec"]["margin_points"] = 2.0
    (tmp_path / "b.json").write_text(json.dumps(content))
    assert main(["check", "--policy", str(workplace / "good"), "--baseline", str(tmp_path / "b.json"), "--mode",
                 "closed-loop"]) == 2
    assert "10 episodes cannot show a margin of 2 points" in capsys.readouterr().err
    assert least_pairs(2.0) == 133


def test_a_changed_simulator_is_told_from_a_bad_variant(workplace, tmp_path):
    content = json.loads((workplace / "baseline.json").read_text())
    content["outcomes"]["toy-0-0-0"] = False
    (tmp_path / "b.json").write_text(json.dumps(content))
    findings = check(workplace / "good", tmp_path / "b.json", "closed-loop", workplace / "runs")
    assert [f.passed for f in findings] == [True, False, True] and "1 of 10 outcomes changed" in findings[1].detail


@pytest.mark.parametrize(("change", "reason"), [
    (lambda c: c.pop("limits"), "not a baseline of this release"),
    (lambda c: c.update(schema_version=0), "schema_version 1"),
    (lambda c: c["spec"]["variants"][0].update(weights="0" * 64), "made with weights 000000000000"),
    (lambda c: c["recorded"].update({"toy-0-0-0": "0" * 64}), "not the recording"),
])
def test_what_cannot_be_compared_is_refused(workplace, tmp_path, change, reason):
    content = json.loads((workplace / "baseline.json").read_text())
    change(content)
    (tmp_path / "b.json").write_text(json.dumps(content))
    (tmp_path / "b.observations").symlink_to(workplace / "baseline.observations")
    with pytest.raises(UsageError, match=reason):
        check(workplace / "good", tmp_path / "b.json")


def test_a_baseline_needs_one_accepted_variant(capsys, tmp_path):
    assert main(["baseline", *RUN, "--method", "fp", "--trials", "1", "--runs-dir", str(tmp_path), "--run", "r",
                 "--out", str(tmp_path / "b.json")]) == 2
    assert "needs one accepted variant, got none" in capsys.readouterr().err


def test_an_unknown_mode_is_answered_with_the_near_match(workplace, capsys):
    assert gate(workplace, "good", "--mode", "fas") == 2
    assert "did you mean 'fast'?" in capsys.readouterr().err


pytest_plugins = ("pytester",)


def test_the_plug_in_offers_the_gate_as_a_fixture(workplace, pytester):
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.parametrize("policy", ["good", "bad"])
        def test_gate(qvla_check, policy):
            qvla_check("{workplace}/" + policy, "{workplace}/baseline.json")
    """)
    result = pytester.runpytest("-p", "no:qvla_bench", "-p", "bench.plugin", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*qvla-bench check (fast) FAILED*"])
