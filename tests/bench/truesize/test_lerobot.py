"""The command for true sizes on tiny networks in LeRobot's classes, and how large the true ones are."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("lerobot", reason="LeRobot is not installed; `make test-lerobot` has an environment with it")

from bench.truesize.command import main
from bench.truesize.models import MODELS
from policies.lerobot import groot, pi
from policies.lerobot.policy import Groot, Pi05
from policies.lerobot.random_weights import made_config
from policies.lerobot.sizes import groot_n15, pi05

NAMES = [name for name, model in MODELS.items() if model.needs == "lerobot"]


def test_every_model_in_lerobots_classes_gets_rows_with_its_stages(tmp_path, capsys):
    torch.set_num_threads(1)
    assert main(["--tiny", "--models", *NAMES, "--runtimes", "eager", "--rounds", "2", "--scratch", str(tmp_path),
                 "--method", "rtn:w8a8"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [(row["model"], row["method"]) for row in rows] == [
        (name, method) for name in NAMES for method in ("fp", "rtn:w8a8")]
    for row in rows:
        assert "reason" not in row, row
        assert {"inputs", "vision", "projector", "language", "head"} == set(row["stages_ms"])
        assert all(stage["p50"] > 0 for stage in row["stages_ms"].values())


# The 2 724 163 520 that are published for GR00T N1.5 have a head for words and a tower's pooling, which are not made.
UNREAD = 151680 * 2048 + 15_238_352


@pytest.mark.parametrize(("sizes", "build", "linears", "weights"), [
    (groot_n15(), groot.build, {"language": 84, "dit": 96, "vision": 162}, 2_724_163_520 - UNREAD),
    (pi05(), pi.build, {"language": 126, "dit": 126, "vision": 162}, 3_353_433_872),
], ids=["groot-n1.5", "pi0.5"])
def test_the_true_networks_have_the_layers_and_weights_of_the_published_ones(sizes, build, linears, weights,
                                                                             monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda module, device: module)  # all stays on the meta device
    _, network = build(sizes.kind, made_config(sizes), sizes.network)
    kind = next(entry for entry in (Groot, Pi05) if entry.kind == sizes.kind)
    sites = kind.structure(network)["linears"]
    assert {role: sum(site.role == role for site in sites) for role in linears} == linears
    assert sum(parameter.numel() for parameter in network.parameters()) == weights
