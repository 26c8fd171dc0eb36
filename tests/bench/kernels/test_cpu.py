"""What the benchmark of the kernels compares with, and how it says what it found."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.kernels import cpu, memory, third_party
from bench.kernels.packed import Packed, packed
from policies.toy_vla import ToyVLA
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import parse_method

needs_runtime = pytest.mark.skipif(third_party.why_unavailable() is not None, reason=str(third_party.why_unavailable()))


@needs_runtime
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_third_party_gets_the_same_from_our_codes():
    layer = QuantLinear(torch.randn(24, 96, generator=torch.Generator().manual_seed(0)), None, torch.full((24,), 4),
                        group_size=32)
    x = torch.randn(5, 96, generator=torch.Generator().manual_seed(1))
    theirs = third_party.matmul_nbits(layer, third_party.EXACT)(x)
    assert (theirs - layer(x)).abs().max() <= 1e-5 * layer(x).abs().max()


def test_without_the_third_party_its_figures_have_a_reason(monkeypatch):
    monkeypatch.setattr(third_party, "find_spec", lambda name: None)
    found = cpu.third_party_figures(1).values()
    assert found and all(f["value"] is None and "not installed: onnx, onnxruntime" in f["reason"] for f in found)


def test_the_packed_baseline_computes_the_same():
    plain = nn.Linear(70, 33)
    x = torch.randn(4, 70)
    with torch.inference_mode():
        torch.testing.assert_close(Packed(plain)(x), plain(x))
        network = packed(nn.Sequential(nn.Linear(70, 33)))
    assert isinstance(network[0], Packed)


def test_growth_is_that_of_a_process_that_loads_the_folder_alone(monkeypatch):
    policy = ToyVLA()
    audit = quantize_(policy.module, policy.layout, parse_method("rtn:w4"), None)
    monkeypatch.setattr(memory, "COPIES", 2)
    found = memory.figures(policy, {"rtn:w4": policy.module}, {"rtn:w4": audit})
    assert found["toy-vla.rtn_w4_file_over_counted"]["value"] > 1.0
    assert found["toy-vla.float32_resident_bytes"]["value"] >= 0
