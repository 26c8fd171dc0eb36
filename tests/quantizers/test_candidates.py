import pytest
import torch
from torch import nn

from quantizers.candidates import compensated, nearest, round_rows
from quantizers.gptq import gptq
from quantizers.grids import fake_quantize

BITS = (0, 2, 4, 8, 16)


def correlated(inputs: int, tokens: int = 200) -> torch.Tensor:
    x = torch.randn(tokens, inputs) @ torch.randn(inputs, inputs)
    return x.t() @ x


@pytest.mark.parametrize("clip", ["absmax", "search", "minmax"])
@pytest.mark.parametrize(("inputs", "at_once"), [(5, 4096), (64, 4096), (150, 4096), (150, 9)])
def test_rows_are_those_of_gptq_at_every_width(clip, inputs, at_once, monkeypatch):
    monkeypatch.setattr("quantizers.candidates._AT_ONCE", at_once)
    weight, moments = torch.randn(7, inputs), correlated(inputs)
    for width, coded in round_rows(weight, moments, (2, 4, 8), clip, 0.01).items():
        alone = gptq(weight, moments, width, clip, damp=0.01, act_order=True)
        assert torch.equal(coded.codes, alone.codes) and torch.equal(coded.scale, alone.scale)
        assert (coded.zero is None) == (clip != "minmax") and (clip != "minmax" or torch.equal(coded.zero, alone.zero))


def test_inputs_that_are_always_zero_get_no_weight():
    moments = correlated(6)
    moments[2], moments[:, 2] = 0.0, 0.0
    assert not round_rows(torch.randn(4, 6), moments, (4,), "search", 0.01)[4].codes[:, 2].any()


def test_a_bias_makes_up_for_the_mean_error_and_rows_without_one_have_none(policy, layout, calibration):
    linears = {name: policy.get_submodule(name) for name in ("vision", "blocks.0.o")}
    candidates = compensated(policy, layout, linears, calibration, BITS, "search", 0.01)
    assert set(candidates.means) == {"vision"} and linears["blocks.0.o"].bias is None
    seen = []
    handle = policy.vision.register_forward_pre_hook(lambda _m, x: seen.append(x[0].detach()))
    for batch in calibration.batches:
        layout.forward(policy, batch)
    handle.remove()
    x, level = torch.cat(seen), torch.zeros(policy.vision.out_features, dtype=torch.long)
    rows, bias = candidates.weights("vision", policy.vision), candidates.bias("vision", policy.vision, level)
    left = nn.functional.linear(x, rows[0], bias)
    torch.testing.assert_close(left.mean(dim=0), policy.vision(x).mean(dim=0).detach(), rtol=1e-3, atol=1e-3)
    assert candidates.bias("blocks.0.o", linears["blocks.0.o"], level) is None


def test_a_layer_that_is_never_called_is_rounded_all_the_same(policy, layout, calibration):
    policy.never = nn.Linear(3, 4)
    candidates = compensated(policy, layout, {"never": policy.never}, calibration, BITS, "search", 0.01)
    assert not candidates.means and candidates.weights("never", policy.never).isfinite().all()


def test_nearest_rows_are_plain_rounding_and_leave_biases_alone(policy):
    candidates = nearest({"vision": policy.vision}, BITS, "search")
    rows = candidates.weights("vision", policy.vision)
    assert torch.equal(rows[2], fake_quantize(policy.vision.weight.detach(), 4, "search"))
    level = torch.full((policy.vision.out_features,), 2)
    assert candidates.bias("vision", policy.vision, level) is policy.vision.bias


def test_weights_that_do_not_fit_float16_are_an_error_before_anything_changes(policy, layout, calibration):
    with torch.no_grad():
        policy.vision.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match="65504"):
        compensated(policy, layout, {"vision": policy.vision}, calibration, BITS, "search", 0.01)
