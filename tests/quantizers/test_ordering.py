"""T12: methods come out in the order that theory gives, on made-up layers with fixed seeds."""

from __future__ import annotations

import copy

import torch
from torch import nn

from quantizers.calibration import CalibrationSet
from quantizers.folds import NormFold
from quantizers.grids import fake_quantize
from quantizers.layout import LinearSite, ModelLayout
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from tests.quantizers import denoising

INPUTS, OUTPUTS = 128, 96
ROTATED = "quantvla:temperature=false,balance=false,rotation=svd_hadamard,rotate_outputs=false"


def relative(moved: torch.Tensor, expected: torch.Tensor) -> float:
    return ((moved - expected).norm() / expected.norm()).item()


def error(text: str, x: torch.Tensor, outlier: float = 1.0) -> float:
    """Of the output of a norm and a layer that undoes the norm's outlier channel; one half of x calibrates."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.LayerNorm(INPUTS), nn.Linear(INPUTS, OUTPUTS, bias=False)).eval()
    with torch.no_grad():
        module[0].weight[5] *= outlier
        module[1].weight[:, 5] /= outlier
    layout = ModelLayout((LinearSite("1", "language"),), lambda m, batch: m(batch["x"]), (NormFold("0", ("1",)),))
    half = len(x) // 2
    with torch.no_grad():
        expected = module(x[half:])
        quantize_(module, layout, parse_method(text), CalibrationSet.of([{"x": x[:half]}]))
        return relative(module(x[half:]), expected)


def test_finer_scales_of_weights_come_closer():
    weight = torch.randn(64, 512) * torch.rand(64, 1).exp() * (torch.rand(1, 4).exp() * 2).repeat_interleave(128, dim=1)
    whole = fake_quantize(weight.reshape(1, -1), 4).reshape(weight.shape)
    errors = [relative(moved, weight) for moved in
              (whole, fake_quantize(weight, 4), fake_quantize(weight, 4, group_size=128))]
    assert errors[0] > errors[1] > errors[2]


def test_on_correlated_inputs_awq_beats_round_to_nearest_and_gptq_beats_awq():
    noise, x = torch.randn(512, INPUTS), torch.zeros(512, INPUTS)
    for column in range(INPUTS):
        x[:, column] = noise[:, column] + (0.95 * x[:, column - 1] if column else 0)
    x = x * torch.logspace(0, 1, INPUTS)
    errors = [error(text, x) for text in ("rtn:w4,clip=minmax", "awq:w4,group=none", "gptq:w4")]
    assert errors[0] > errors[1] > 1.2 * errors[2]


def test_an_outlier_channel_hurts_round_to_nearest_most():
    x = torch.randn(256, INPUTS)
    for width in ("w8a4", "w8a8"):
        plain, smooth = error(f"rtn:{width}", x, 10.0), error(f"smoothquant:{width}", x, 10.0)
        rotated = error(f"{ROTATED},{width}", x, 10.0)
        assert plain > 2 * smooth and plain > 1.8 * rotated


def test_scales_per_step_beat_one_scale_where_ranges_drift_and_are_the_same_where_they_do_not():
    network, layout, calibration = denoising.build(32)
    x = torch.randn(64, denoising.TOKENS, denoising.WIDTH)
    errors = {}
    for scales in ("step", "tensor"):
        module = copy.deepcopy(network)
        quantize_(module, layout, parse_method(f"omega-qvla:w8a4,head_scales={scales}"), calibration)
        with torch.no_grad():
            errors[scales] = relative(module(x), network(x))
    assert errors["step"] < 0.8 * errors["tensor"]
    one_step = ModelLayout(layout.linears, lambda m, batch: m(batch["noise"], 1), layout.folds, layout.attention,
                           layout.blocks, layout.denoiser)
    answers = []
    for scales in ("step", "tensor"):
        module = copy.deepcopy(network)
        quantize_(module, one_step, parse_method(f"omega-qvla:w8a4,head_scales={scales}"), calibration)
        answers.append(module(x, 1))
    assert torch.equal(*answers)
