"""The command that measures kernels on a card, as far as it goes without one."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from bench.kernels import cuda as measuring
from bench.kernels.__main__ import main
from bench.kernels.shapes import SHAPES
from quantizers import cuda

pytest.importorskip("triton", reason="Triton is not installed; install qvla-bench[cuda]")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_nothing_is_measured_and_nothing_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--cuda"]) == 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["cuda"]["value"] is None and said["cuda"]["reason"].startswith("not measured: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="interpreted kernels only run without a device")
def test_a_row_has_every_kind_with_its_spread_and_the_table_shows_it(monkeypatch, capsys):
    monkeypatch.setattr(measuring, "ROUNDS", 2)
    monkeypatch.setattr(measuring, "WARMUP", 0)
    ticks = itertools.count(1)

    def clock(step):
        step()
        return lambda: float(next(ticks))

    rows = measuring.rows_of({"P": {"layer": (64, 40)}}, [3], "cpu", clock)
    (row,) = rows
    assert row["n"] == measuring.ROUNDS and set(row["kinds"]) == set(measuring.KINDS)
    for kind in row["kinds"].values():
        assert kind["spread"][0] <= kind["over_bf16"] <= kind["spread"][1] and kind["deviation"] <= 1e-5
        assert kind["best_over_bf16"] >= kind["over_bf16"] and kind["tiling"]["tokens"] == 16
    text = measuring.markdown({"device": "D", "torch": "2", "cuda": "13", "rows": rows})
    assert "| P | layer | 64 → 40 | 3 |" in text and text.count("not measured") == 0
    del row["kinds"]["w4a4"]
    assert measuring.markdown({"device": "D", "torch": "2", "cuda": "13", "rows": rows}).count("not measured") == 1


def test_the_linears_are_those_of_three_policies():
    assert list(SHAPES) == ["OpenVLA-7B", "pi0.5", "GR00T N1.5"]
    assert SHAPES["OpenVLA-7B"]["llama down"] == (11008, 4096) and len(cuda.TILINGS) == 4
