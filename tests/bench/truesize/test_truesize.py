"""The command for true sizes, on tiny networks; and what quantizing holds in memory, on a network of many MB."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.truesize.command import figures, main
from bench.truesize.hostmemory import HostMemory, anonymous_bytes
from bench.truesize.models import MODELS
from policies.registry import POLICIES

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


OPENVLAS = [name for name, model in MODELS.items() if model.needs is None]


def test_every_model_and_method_gets_a_row_with_its_stages(tmp_path, capsys):
    arguments = ["--tiny", "--models", *OPENVLAS, "--runtimes", "eager", "--rounds", "2", "--scratch",
                 str(tmp_path), "--method", "rtn:w8a8", "--out", str(tmp_path / "out.json")]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report == json.loads((tmp_path / "out.json").read_text())
    assert [(row["model"], row["method"]) for row in report["rows"]] == [
        (name, method) for name in OPENVLAS for method in ("fp", "rtn:w8a8")]
    for row in report["rows"]:
        assert "reason" not in row, row
        assert {"inputs", "vision", "projector", "language", "head"} == set(row["stages_ms"])
        assert row["weight_bytes"] > 0 and row["latency_ms"]["p95"] >= row["latency_ms"]["p50"] > 0
        assert row["load_s"] > 0 and row["peak_device_bytes"] is None
        assert row["method"] == "fp" or row["speedup_over_bf16_eager"]["median"] > 0 and row["quantize_s"] > 0
    assert all(figure["value"] is None for figure in report["figures"].values())
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_model_without_its_package_says_where_it_can_be_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("bench.truesize.command.MODELS", {"pi0.5": MODELS["pi0.5"]})
    assert main(["--tiny", "--scratch", str(tmp_path)]) == 0
    row, = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert row["model"] == "pi0.5" and "`make bench-7b-lerobot`" in row["reason"]
    assert main(["--tiny", "--models", "pi0.5", "--scratch", str(tmp_path)]) == 2
    assert "classes of lerobot, which is not installed" in capsys.readouterr().err


def test_what_cannot_be_done_is_a_row_with_the_reason(tmp_path, capsys):
    assert main(["--tiny", "--models", "openvla-7b-oft", "--runtimes", "eager", "--rounds", "1", "--scratch",
                 str(tmp_path), "--method", "rtn:w4,group=7"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"][-1]
    assert row["method"] == "rtn:w4,group=7" and "does not divide" in row["reason"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_what_works_without(capsys):
    assert main([]) == 2
    assert "sees no CUDA device; --tiny runs the same code" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "said"), [
    (["--tiny", "--models", "openvla-7"], "did you mean 'openvla-7b'"), (["--tiny", "--rounds", "0"], "1 or more"),
    (["--tiny", "--runtimes", "compile"], "must name eager"),
])
def test_what_is_not_legal_is_said(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_goals_are_judged_only_by_what_was_measured():
    row = {"model": "openvla-7b-oft", "method": "x", "weight_share": 0.28, "quantize_s": 700.0,
           "speedup_over_bf16_eager": {"median": 1.2}, "quantize_host_memory_over_checkpoint": None}
    found = figures([row])
    assert found["openvla-7b-oft.weight_share"]["met"] and not found["openvla-7b-oft.speedup"]["met"]
    assert not found["any.quantize_s"]["met"] and found["any.host_memory_over_checkpoint"]["reason"]


def test_every_model_is_a_registered_policy():
    assert all(model.policy in POLICIES for model in MODELS.values())


@pytest.mark.skipif(anonymous_bytes() is None, reason="the system does not say what memory files back")
def test_memory_of_its_own_is_counted():
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # what the process freed before would be used again
    with HostMemory() as host, mmap.mmap(-1, 20_000_000, private) as fresh:
        fresh.write(bytes(1000) * 20_000)
        host.look()
    assert 19e6 < host.peak_bytes < 60e6


PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from bench.truesize.hostmemory import HostMemory
from policies.openvla.policy import OpenVLAOFT
from policies.openvla.random_weights import TINY, Sizes, write_oft
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from quantizers.saved import Origin
from quantizers.storage import save_quantized
parent = Path(sys.argv[1])
text = {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 6, "num_attention_heads": 8}
write_oft(parent / "c", Sizes(TINY.towers, text))
with HostMemory() as host:
    policy = OpenVLAOFT(f"={parent / 'c'}")
    audit = quantize_(policy.module, policy.layout, parse_method("rtn:w8a8"))
    save_quantized(policy.module, parent / "s", audit, Origin("p", "m", None, policy.network_config()))
size = sum(path.stat().st_size for path in (parent / "c").iterdir() if path.suffix in (".safetensors", ".pt"))
print(size, host.peak_bytes / size)
"""


@pytest.mark.skipif(anonymous_bytes() is None, reason="the system does not say what memory files back")
def test_reading_quantizing_and_saving_hold_little_more_than_the_checkpoint(tmp_path):
    answer = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    size, share = map(float, answer.stdout.split())
    assert size > 6e7 and share < 1.3
