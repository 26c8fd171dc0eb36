import copy

import pytest
import torch
from torch.nn import functional as F

from quantizers.folds import fold_
from quantizers.grids import fake_quantize
from quantizers.integer import fake_quantize_tokens
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from quantizers.smoothquant import input_peaks, norm_folds, smoothing, smoothing_scale
from tests.quantizers.architectures import KINDS, build


def smoothed(network, moves):
    smooth = copy.deepcopy(network)
    for fold, scale in moves:
        fold_(smooth, fold, scale)
    return smooth


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.85, 1.0])
def test_smoothing_alone_leaves_the_actions(kind, alpha):
    network, layout, calibration = build(kind)
    folds = norm_folds(layout, dict(network.named_modules()))
    assert len(folds) == 4
    smooth = smoothed(network, smoothing(network, folds, input_peaks(network, layout, folds, calibration), alpha))
    for batch in calibration.batches:
        torch.testing.assert_close(layout.forward(smooth, batch), layout.forward(network, batch), rtol=1e-5, atol=1e-5)


def test_the_ends_of_alpha_flatten_weights_or_inputs():
    peak, weights = torch.rand(8) + 0.1, [torch.randn(5, 8), torch.randn(3, 8)]
    flat = torch.cat(weights) * smoothing_scale(peak, weights, 0.0)
    torch.testing.assert_close(flat.abs().amax(dim=0), torch.ones(8))
    torch.testing.assert_close(peak / smoothing_scale(peak, weights, 1.0), torch.ones(8))


def test_inputs_reach_one_at_most_after_full_smoothing():
    network, layout, calibration = build("gemma")
    folds = norm_folds(layout, dict(network.named_modules()))
    smooth = smoothed(network, smoothing(network, folds, input_peaks(network, layout, folds, calibration), 1.0))
    for peak in input_peaks(smooth, layout, folds, calibration).values():
        torch.testing.assert_close(peak, torch.ones(32))


def test_a_channel_that_is_always_zero_is_left_alone():
    scale = smoothing_scale(torch.tensor([0.0, 1.0]), [torch.ones(2, 2)], 0.5)
    assert torch.equal(scale, torch.ones(2))


@pytest.mark.parametrize(("weight_bits", "activation_bits", "gain"), [(8, 8, 20), (4, 4, 5)])
def test_an_outlier_channel_with_small_weights_no_longer_drowns_the_others(weight_bits, activation_bits, gain):
    x, weight = torch.randn(64, 48), torch.randn(32, 48)
    x[:, 7] *= 100
    weight[:, 7] *= 0.01
    scale = smoothing_scale(x.abs().amax(dim=0), [weight], 0.5)
    errors = []
    for inputs, w in ((x, weight), (x / scale, weight * scale)):
        y = F.linear(fake_quantize_tokens(inputs, activation_bits), fake_quantize(w, weight_bits))
        errors.append((y - F.linear(x, weight)).square().mean())
    assert errors[0] > gain * errors[1]


def test_alpha_is_the_candidate_that_moves_the_actions_least():
    network, layout, calibration = build("llama")
    audit = quantize_(network, layout, parse_method("smoothquant:w4a4,alphas=0.2/0.5/0.9"), calibration)
    found = audit.diagnostics["squared_deviation_by_alpha"]
    assert set(found) == {"0.2", "0.5", "0.9"}
    assert found[f"{audit.diagnostics['alpha']:g}"] == min(found.values())


def test_the_norms_that_took_a_scale_are_in_the_audit_and_saved_values():
    network, layout, calibration = build("vit with layer scale")
    before = copy.deepcopy(network.state_dict())
    audit = quantize_(network, layout, parse_method("smoothquant:alpha=0.5"), calibration)
    names = {f"blocks.{i}.norm{n}.{part}" for i in range(2) for n in (1, 2) for part in ("weight", "bias")}
    assert set(audit.diagnostics["folded_into"]) == names
    changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert changed == names


def test_a_kept_layer_that_took_a_scale_says_so():
    network, layout, calibration = build("modulated")
    audit = quantize_(network, layout, parse_method("smoothquant:alpha=0.5"), calibration)
    layer = next(layer for layer in audit.layers if layer.name == "blocks.0.modulation")
    assert layer.status == "kept" and "a neighbour or a correction was folded into it" in layer.reason


def test_every_sample_of_the_calibration_set_counts():
    network, layout, calibration = build("llama")
    folds = norm_folds(layout, dict(network.named_modules()))
    peaks = input_peaks(network, layout, folds, calibration)
    parts = [input_peaks(network, layout, folds, type(calibration).of([batch])) for batch in calibration.batches]
    for name, peak in peaks.items():
        assert torch.equal(peak, torch.maximum(parts[0][name], parts[1][name]))
        assert not torch.equal(peak, parts[0][name])
