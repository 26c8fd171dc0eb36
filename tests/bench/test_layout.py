from __future__ import annotations

import pytest

from bench.cli import main
from bench.layout import layout_table


def test_every_linear_is_listed_with_its_fate():
    lines = layout_table("toy-vla", "rtn:w4").splitlines()
    assert lines[0].split() == ["LINEAR", "ROLE", "INPUTS", "OUTPUTS", "rtn:w4"]
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[1:]}
    assert list(rows) == ["vision", "projector", "words", "select", "offset", "action_head"]
    assert rows["vision"] == "vision 192 64 quantized; 64 rows of 4 bits"
    assert rows["projector"] == "projector 1024 64 kept: role 'projector' is outside the scope of the method"


def test_what_calibration_decides_is_not_guessed():
    assert "vision       192     64       quantized; calibration decides the widths" in layout_table("toy-vla", "qvla")


@pytest.mark.parametrize(("options", "hint"), [
    (["--policy", "toy-vl"], "did you mean 'toy-vla'?"),
    (["--policy", "toy-scripted", "--method", "fp"], "no network to quantize"),
    (["--policy", "toy-vla", "--method", "rtn qvla"], "must be one method"),
])
def test_illegal_names_are_refused(options, hint, capsys):
    assert main(["layout", *options]) == 2
    assert hint in capsys.readouterr().err
