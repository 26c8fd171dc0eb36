import json

import numpy as np
import pytest
import torch

from bench.figure import figure, median_figure
from bench.kernels import cpu, memory
from bench.quant import __main__ as command
from bench.quant.allocation import allocation_figures
from bench.quant.drift import Drifts, drift_figures
from bench.quant.pareto import budgets
from bench.quant.pareto import main as pareto
from envs.types import Observation
from policies.pocket.checkpoint import NETWORKS
from policies.pocket.flow import PocketFlow
from policies.pocket.model import CAMERAS
from policies.pocket.token import PocketToken
from policies.toy_vla import ToyVLA
from quantizers.registry import parse_method

LAST = ("qvla_4_mean_bits_bytes_share", "qvla_drift_over_rtn_at_equal_bytes",
        "qvla_drift_over_smoothquant_at_equal_bytes", "qvla_drift_over_awq_at_equal_bytes",
        "qvla_drift_over_released_rule_at_equal_bytes", "qvla_bytes_over_least_baseline_bytes",
        "spearman_with_exact_channels_at_2_bits")
SMALL = {"image_size": 64, "vision_width": 64, "vision_layers": 1, "width": 64, "layers": 1, "heads": 2, "mlp": 96}
DENOISER = {"dit_width": 32, "dit_layers": 1, "dit_heads": 2, "dit_mlp": 48}


def noise(seed: int) -> Observation:
    random = np.random.default_rng(seed)
    images = {camera: random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for camera in CAMERAS}
    return Observation(images, random.standard_normal(8).astype(np.float32), "pick up the milk")


def test_a_figure_says_whether_its_target_is_met_and_why_there_is_none():
    assert figure(0.4, "<=", 0.5)["met"] and not figure(0.4, ">=", 0.5)["met"]
    assert figure(None, "<=", 0.5, "no kernel") == {
        "value": None, "target": "<= 0.5", "met": None, "reason": "no kernel", "n": None, "spread": None}
    assert median_figure([3.0, 1.0, 2.0], "<=", 2.0) == {
        "value": 2.0, "target": "<= 2", "met": True, "reason": None, "n": 3, "spread": [1.0, 3.0]}
    assert median_figure([], ">=", 1.5, "why") == {
        "value": None, "target": ">= 1.5", "met": None, "reason": "why", "n": None, "spread": None}


def test_allocation_is_timed_for_every_rule():
    found = allocation_figures(2000)
    assert [name.split("_")[3] for name in found] == ["hull", "incremental", "released"]
    assert all(value["n"] == 3 for value in found.values())


def test_the_last_line_is_json_with_a_figure_for_every_promise_about_drift(capsys):
    command.main(["--policy", "toy-vla", "--parts", "drift", "sensitivity"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    for name in LAST:
        assert last["figures"][f"toy-vla.{name}"]["value"] is not None
    assert last["figures"]["toy-vla.qvla_bytes_over_least_baseline_bytes"]["met"]
    assert last["figures"]["toy-vla.sensitivity_of_all_channels_s"]["n"] == 1


def test_speed_and_memory_are_those_of_the_kernels_benchmark(capsys, monkeypatch):
    monkeypatch.setattr(cpu, "ROUNDS", 1)
    monkeypatch.setattr(cpu, "LAYER_TOKENS", (16,))
    monkeypatch.setattr(memory, "COPIES", 1)
    command.main(["--policy", "toy-vla", "--parts", "speed", "memory"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    for name in ("w8a8", "qvla_4_mean_bits"):
        assert figures[f"{name}_1024x4096_16_rows_over_float32"]["n"] == command.REPEATS
        assert figures[f"toy-vla.{name}_decisions_over_float32"]["target"] in (">= 1.49", ">= 1")
    assert figures["toy-vla.rtn_w8a8_resident_bytes"]["value"] is not None
    assert figures["toy-vla.qvla_4_mean_bits_file_over_counted"]["value"] > 1.0


def test_drift_is_over_all_observations_and_each_is_answered_by_a_network_that_did_not_see_it():
    drifts = Drifts("toy-vla", ToyVLA())
    seen = [{tuple(state) for batch in calibration.batches for state in batch["state"].tolist()}
            for calibration, _ in drifts.folds]
    asked = [{tuple(o.state.astype("float32").tolist()) for o in observations} for _, observations in drifts.folds]
    assert not seen[0] & asked[0] and not seen[1] & asked[1] and seen[0] == asked[1]
    row = drifts.of("rtn:w4a8")
    assert row["drift"] == pytest.approx(sum(row["drift_of_folds"]) / 2) and row["drift"] > 0


@pytest.mark.parametrize("kind", [PocketToken, PocketFlow])
def test_the_promises_are_measured_on_the_other_heads_too(kind, monkeypatch):
    torch.manual_seed(0)
    network, config = NETWORKS[kind.head]
    policy = kind(module=network(config(**SMALL, **(DENOISER if kind is PocketFlow else {}))).eval())
    seen = [noise(seed) for seed in range(16)], [f"noise-{seed}" for seed in range(16)]
    monkeypatch.setattr(policy, "calibration_observations", lambda: seen)
    found = drift_figures(Drifts(policy.name, policy), whole_table=False)
    assert all(found[f"{policy.name}.{name}"]["value"] is not None for name in LAST[:6])


@pytest.mark.parametrize(
    ("method", "first", "count"),
    [("qvla", "qvla:target_bits=2", 8), ("qvla:budget=bytes,a16", "qvla:budget=bytes,a16,target_bits=2", 8),
     ("rtn", "rtn:w2a8", 4), ("rtn:a16,clip=search", "rtn:w2a16,clip=search", 4), ("gptq:group=32", None, 4),
     ("rtn:w4a8", "rtn:w4a8", 1), ("qvla:target_bits=3", "qvla:target_bits=3", 1)])
def test_a_method_is_swept_over_its_own_budgets(method, first, count):
    found = budgets(method)
    assert len(found) == count and first in (None, found[0])
    assert [parse_method(text) for text in found]


def test_a_sweep_writes_points_a_table_and_pictures(tmp_path, capsys):
    pareto(["--policy", "toy-vla", "--methods", "qvla:probes=2,check_channels=0 rtn", "--target-bits", "3", "4",
            "--out", str(tmp_path / "sweep")])
    assert {path.name for path in (tmp_path / "sweep").iterdir()} >= {
        "sweep.json", "points.csv", "pareto.svg", "sensitivity.svg"}
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["points"] == 6
