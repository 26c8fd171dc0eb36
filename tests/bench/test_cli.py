from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cli import main
from bench.command import parse_tasks
from bench.errors import UsageError

ROOT = Path(__file__).parents[2]
SCRIPTED = ["bench", "--suite", "toy", "--policy", "toy-scripted", "--threads", "1", "--quiet", "--no-video"]


@pytest.fixture
def no_simulation(monkeypatch):
    import bench.run

    monkeypatch.setattr(bench.run, "run", lambda *args, **kwargs: pytest.fail("something was simulated"))


@pytest.mark.parametrize(("options", "hint"), [
    (["--suite", "toi"], "did you mean 'toy'? legal: libero_spatial, libero_object, "),
    (["--suite", "libero_lon"], "did you mean 'libero_long'?"),
    (["--suite", "libero_90"], "no policy that can be quantized is shipped for 'libero_90' yet; name one of these"),
    (["--suite", "toy", "--policy", "toy-vl"], "did you mean 'toy-vla'?"),
    (["--suite", "toy", "--method", "qvl"], "did you mean 'qvla'?"),
    (["--suite", "toy", "--method", "rtn,qvl"], "did you mean 'qvla'?"),
    (["--suite", "toy", "--method", "rtn:w5"], "weight_bits is 5"),
    (["--suite", "toy", "--protocol", "of"], "did you mean 'oft'?"),
    (["--suite", "toy", "--assets", "builtin"], "legal: none"),
    (["--suite", "toy", "--stepping", "exact"], "legal: none"),
    (["--suite", "libero_object", "--stepping", "exakt"], "did you mean 'exact'? legal: fast, exact"),
    (["--suite", "toy", "--policy", "expert"], "policies for it: toy-vla, toy-scripted"),
    (["--suite", "toy", "--policy", "toy-scripted", "--method", "rtn"], "no network to quantize"),
    (["--suite", "toy", "--trials", "11"], "trials is 1..10"),
    (["--suite", "toy", "--trials", "0"], "at least 1"),
    (["--suite", "toy", "--tasks", "0-2"], "indices 0..1"),
    (["--suite", "toy", "--run", "a b"], "other characters"),
])
def test_what_is_not_legal_is_answered_with_what_is(no_simulation, capsys, tmp_path, options, hint):
    assert main(["bench", "--runs-dir", str(tmp_path), *options]) == 2
    out, err = capsys.readouterr()
    assert hint in err and out == ""
    assert not list(tmp_path.iterdir())


def test_the_last_line_on_stdout_is_one_json_object(capsys, tmp_path):
    arguments = [*SCRIPTED, "--runs-dir", str(tmp_path), "--run", "one", "--trials", "1"]
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["run"] == str(tmp_path / "one") and summary["complete"] is True
    (variant,) = summary["variants"].values()
    assert (variant["successes"], variant["n"], variant["errors"]) == (2, 2, 0)
    assert json.loads((tmp_path / "one" / "summary.json").read_text()) == summary

    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == summary
    assert main(["report", "one", "--runs-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == summary


def test_a_quantized_run_reports_bytes_drift_speed_and_a_film(capsys, tmp_path):
    assert main(["bench", "--suite", "toy", "--method", "rtn", "--tasks", "1", "--trials", "1", "--threads", "1",
                 "--quiet", "--runs-dir", str(tmp_path)]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    baseline, variant = summary["variants"].values()
    assert variant["storage_bytes"] < baseline["storage_bytes"]
    assert variant["drift"]["decisions"] > 0 and variant["speedup"]["cpu"]["median"] > 0
    assert (tmp_path / "toy-toy-vla-rtn" / "videos" / "toy-1.mp4").is_file()


def test_errors_change_the_exit_code_and_the_summary(capsys, tmp_path, monkeypatch):
    from policies.scripted import ToyScripted

    monkeypatch.setattr(ToyScripted, "act", lambda self, observations: 1 / 0)
    assert main([*SCRIPTED, "--runs-dir", str(tmp_path), "--trials", "1"]) == 1
    out, err = capsys.readouterr()
    summary = json.loads(out.splitlines()[-1])
    (variant,) = summary["variants"].values()
    assert (variant["n"], variant["errors"], summary["complete"]) == (0, 2, False)
    assert "ZeroDivisionError" in err and "2 episodes have no outcome" in err


def test_an_interrupt_ends_with_its_own_exit_code(capsys, tmp_path, monkeypatch):
    from policies.scripted import ToyScripted

    def interrupted(self, observations):
        raise KeyboardInterrupt

    monkeypatch.setattr(ToyScripted, "act", interrupted)
    assert main([*SCRIPTED, "--runs-dir", str(tmp_path)]) == 130
    assert "goes on" in capsys.readouterr().err


def test_a_process_that_was_killed_is_resumed_by_the_same_command(tmp_path):
    command = [sys.executable, "-m", "bench", *SCRIPTED, "--runs-dir", str(tmp_path), "--run", "k", "--trials", "10"]
    episodes = tmp_path / "k" / "episodes.jsonl"
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (episodes.exists() and episodes.read_bytes().count(b"\n") >= 2):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    survived = episodes.read_bytes().count(b"\n")
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (variant,) = json.loads(again.stdout.splitlines()[-1])["variants"].values()
    keys = [tuple(json.loads(line)["key"].values()) for line in episodes.read_text().splitlines()]
    assert 2 <= survived <= 20 and variant["n"] == len(keys) == len(set(keys)) == 20


def test_list_names_everything_and_what_it_needs(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "  libero_10       also called libero_long; assets builtin or official; stepping fast or exact; " in out
    for name in ("libero_object", "pocket-oft", "toy-vla", "qvla", "rtn", "oft", "cpu"):
        assert f"  {name} " in out


def test_a_run_that_does_not_exist_cannot_be_reported(capsys, tmp_path):
    assert main(["report", "nothing", "--runs-dir", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_a_spec_has_one_name_for_a_suite_and_the_stepping_that_was_asked_for(monkeypatch):
    from bench import command
    from bench.cli import _parser

    monkeypatch.setattr(command, "legal_policy", lambda suite, name: "toy-scripted")
    typed = [["bench", "--suite", suite] for suite in ("libero_10", "libero_long")]
    short, long = (command.make_spec(_parser().parse_args(words)) for words in typed)
    assert short == long and (long.suite, long.stepping) == ("libero_10", "fast")
    exact = command.make_spec(_parser().parse_args([*typed[1], "--stepping", "exact"]))
    assert exact.stepping == "exact" and exact.conflicts(long) == ["stepping: 'fast' in the folder, 'exact' now"]
    assert command.default_name(long).startswith("libero_10-")


@pytest.mark.parametrize(("text", "tasks"), [
    (None, (0, 1, 2, 3)), ("2", (2,)), ("3,1", (1, 3)), ("0-2,1 3", (0, 1, 2, 3)),
])
def test_tasks_are_indices_and_ranges(text, tasks):
    assert parse_tasks(text, 4) == tasks


@pytest.mark.parametrize("text", ["4", "2-1", "a", "1-", "", "-1"])
def test_illegal_tasks_are_refused(text):
    with pytest.raises(UsageError):
        parse_tasks(text, 4)
