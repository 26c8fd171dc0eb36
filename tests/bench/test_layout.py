from __future__ import annotations

import re

import pytest

import policies.toy_vla
from bench.cli import main


def table(capsys, *options: str) -> dict[str, str]:
    assert main(["layout", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["LINEAR", "ROLE", "INPUTS", "OUTPUTS", options[-1]]
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines[1:]}


def test_every_linear_is_listed_with_its_fate(capsys):
    rows = table(capsys, "--policy", "toy-vla", "--method", "rtn:w4")
    assert list(rows) == ["vision", "projector", "words", "select", "offset", "action_head"]
    assert rows["vision"] == "vision 192 64 quantized; 64 rows of 4 bits"
    assert rows["projector"] == "projector 1024 64 kept: role 'projector' is outside the scope of the method"


def test_what_calibration_decides_is_not_guessed(capsys):
    rows = table(capsys, "--policy", "toy-vla", "--method", "qvla")
    assert rows["vision"] == "vision 192 64 quantized; calibration decides the widths; activations of 8 bits"


@pytest.mark.parametrize(("options", "hint"), [
    (["--policy", "toy-vl"], "did you mean 'toy-vla'?"),
    (["--policy", "toy-scripted", "--method", "fp"], "no network to quantize"),
    (["--policy", "toy-vla", "--method", "rtn qvla"], "must be one method"),
    (["--policy", "toy-vla", "--method", "rtn:roles=lm_head"], "nothing to quantize: no Linear .* among lm_head"),
    (["--policy", "toy-vla", "--method", "quantvla"], "does not denoise: .* temperature=false,balance=false"),
    (["--policy", "pocket-oft", "--method", "omega-qvla"], "does not denoise: .* head_scales=token"),
])
def test_what_cannot_be_is_refused(options, hint, capsys):
    assert main(["layout", *options]) == 2
    captured = capsys.readouterr()
    assert re.search(hint, captured.err) and captured.out == ""


def test_a_layer_that_the_method_cannot_have_is_an_error_behind_the_table(monkeypatch, capsys):
    planted = policies.toy_vla._planted

    def tied():
        network = planted()
        network.offset.weight = network.projector.weight
        return network

    monkeypatch.setattr(policies.toy_vla, "_planted", tied)
    assert main(["layout", "--policy", "toy-vla", "--method", "rtn"]) == 2
    captured = capsys.readouterr()
    assert "unsupported: its weight is shared" in captured.out and "cannot quantize 1 layers" in captured.err
