"""T9: what temperatures and balances are computed from, and that applying them does what they promise."""

import copy
import math

import pytest
import torch

from quantizers.attention_matching import (
    Limits,
    attention_parts,
    balance,
    logit_spread,
    match_,
    scale_rows_,
    temperatures,
    watch,
)
from quantizers.layout import LinearSite, ModelLayout
from quantizers.linear import QuantLinear
from quantizers.plan import Rewriting
from quantizers.preserved import LayoutError
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from tests.quantizers.denoising import HEADS, STEPS, WIDTH, build

LOOSE = Limits(temperature=(0.01, 100.0), temperature_neutral=0.0, log_balance=10.0, log_balance_neutral=0.0)


def looped(query, key, valid) -> torch.Tensor:
    """Spread by explicit loops over what is valid, bool[B, H, Q, K]."""
    result = torch.zeros(query.shape[:2], dtype=torch.float64)
    repeats = query.shape[1] // key.shape[1]
    for b in range(query.shape[0]):
        for h in range(query.shape[1]):
            logits = [float(query[b, h, i].double() @ key[b, h // repeats, j].double()) / math.sqrt(query.shape[-1])
                      for i in range(query.shape[2]) for j in range(key.shape[2]) if valid[b, h, i, j]]
            result[b, h] = torch.tensor(logits, dtype=torch.float64).std(unbiased=False)
    return result


@pytest.mark.parametrize("shape", [(2, 1, 3, 5), (2, 4, 1, 5), (2, 4, 3, 5), (1, 1, 1, 5)])
@pytest.mark.parametrize("boolean", [True, False])
def test_masked_positions_are_left_out_however_the_mask_broadcasts(shape, boolean):
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, 3, 6), torch.randn(2, 2, 5, 6)
    valid = torch.rand(shape) > 0.4
    valid[..., :2] = True
    mask = valid if boolean else torch.zeros(shape).masked_fill(~valid, -torch.inf)
    expected = looped(query, key, valid.expand(2, 4, 3, 5))
    torch.testing.assert_close(logit_spread(query, key, mask), expected)


def test_causal_attention_counts_what_it_sees():
    query, key = torch.randn(1, 2, 4, 6), torch.randn(1, 2, 4, 6)
    expected = looped(query, key, torch.ones(1, 2, 4, 4).tril().bool())
    torch.testing.assert_close(logit_spread(query, key, is_causal=True), expected)


def test_a_temperature_gives_the_spread_back_and_its_inverse_does_not():
    query, key = torch.randn(3, 2, 5, 8), torch.randn(3, 2, 7, 8)
    rough = query * torch.tensor([0.8, 1.3])[:, None, None]
    full, now = logit_spread(query, key).mean(0), logit_spread(rough, key).mean(0)
    factor = temperatures(full, now, Limits())
    torch.testing.assert_close(factor, torch.tensor([1.25, 1 / 1.3], dtype=torch.float64), rtol=1e-3, atol=0)
    multiplied, divided = (logit_spread(rough * f.float()[:, None, None], key).mean(0) for f in (factor, 1 / factor))
    assert ((multiplied / full - 1).abs() < 0.01).all() and ((divided / full - 1).abs() > 0.3).all()


def test_factors_are_limited_and_small_ones_are_left_out():
    spread = torch.tensor([0.1, 0.985, 1.0, 1.05, 9.0], dtype=torch.float64)
    assert temperatures(spread, torch.ones(5), Limits()).tolist() == pytest.approx([0.7, 1, 1, 1.05, 1.4], abs=1e-4)
    assert balance(5.0, 1.0, Limits()) == pytest.approx(math.exp(0.3)) == 1 / balance(1.0, 5.0, Limits())
    assert balance(1.02, 1.0, Limits()) == balance(1.0, 1.0, Limits()) == balance(0.0, 1.0, Limits()) == 1.0
    assert balance(1.2, 1.0, Limits()) == pytest.approx(1.2)


def test_matching_restores_spread_and_size_of_a_single_step():
    network, layout, calibration = build()
    layout = ModelLayout(layout.linears, lambda m, batch: m(batch["noise"], 1), layout.folds, layout.attention,
                         layout.blocks, layout.denoiser)
    parts = attention_parts(layout, "dit")
    rough, full = copy.deepcopy(network), watch(network, layout, parts, calibration)
    attention = rough.dit.attention
    with torch.no_grad():
        attention.to_k.weight *= torch.linspace(0.8, 1.2, WIDTH)[:, None]
        attention.to_out.weight *= 0.8
    match_(Rewriting(rough), full, layout, calibration, True, True, LOOSE)
    seen, name = watch(rough, layout, parts, calibration), parts[0].name
    torch.testing.assert_close(seen.mean_spread(name), full.mean_spread(name), rtol=0.01, atol=0)
    assert seen.mean_size(name) == pytest.approx(full.mean_size(name), rel=0.01)


def test_every_call_of_every_step_is_seen():
    network, layout, calibration = build()
    seen = watch(network, layout, attention_parts(layout, "dit"), calibration)
    assert [tuple(entry.shape) for entry in seen.spread["dit.attention"]] == [(8, HEADS)] * (2 * STEPS)
    assert [tuple(entry.shape) for entry in seen.size["dit.attention"]] == [(8,)] * (2 * STEPS)


def test_a_network_that_needs_no_correction_stays_as_it_is_to_the_last_bit():
    network, layout, calibration = build()
    twin = copy.deepcopy(network)
    teacher = watch(network, layout, attention_parts(layout, "dit"), calibration)
    found = match_(Rewriting(twin), teacher, layout, calibration, True, True, Limits())
    assert found["temperatures"] == {"dit.attention": [1.0] * HEADS} and found["balances"] == {"dit.attention": 1.0}
    assert set(found["squared_deviation"].values()) == {0.0}
    state = network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in twin.state_dict().items())


@pytest.mark.parametrize("text", ["quantvla:attention=true,temperature=false,balance=false", "rtn:w4a8"])
def test_factors_of_a_packed_layer_leave_its_codes(text):
    network, layout, calibration = build()
    quantize_(network, layout, parse_method(text), calibration)
    layer, x = network.dit.attention.to_out, torch.randn(5, WIDTH)
    assert isinstance(layer, QuantLinear)
    before, codes = layer(x), layer.codes4.clone()
    scale_rows_(Rewriting(network), "dit.attention.to_out", torch.full((WIDTH,), 1.25, dtype=torch.float64))
    torch.testing.assert_close(layer(x), before * 1.25)
    assert torch.equal(layer.codes4, codes)


def test_factors_per_head_go_through_a_rotation_within_heads_only():
    network, layout, calibration = build()
    quantize_(network, layout, parse_method("quantvla:attention=true,temperature=false,balance=false"), calibration)
    factors = torch.tensor([1.1] * 8 + [0.9] * 8, dtype=torch.float64)
    layer, x = network.dit.attention.to_q, torch.randn(5, WIDTH)
    before = layer(x)
    scale_rows_(Rewriting(network), "dit.attention.to_q", factors)
    torch.testing.assert_close(layer(x), before * factors.float())
    with pytest.raises(ValueError, match="blocks must divide a head"):
        scale_rows_(Rewriting(network), "dit.attention.to_out", factors)


def test_an_attention_that_cannot_be_watched_is_an_error():
    network, layout, calibration = build()
    without = ModelLayout(layout.linears, layout.forward, (), layout.attention, layout.blocks, layout.denoiser)
    with pytest.raises(LayoutError, match="no ValueFold of the layout names the output projection"):
        attention_parts(without, "dit")
    network.dit.attention.forward = lambda x: network.dit.attention.to_out(x)
    with pytest.raises(LayoutError, match="was called 8 times and scaled_dot_product_attention in it 0 times"):
        watch(network, layout, attention_parts(layout, "dit"), calibration)
    assert attention_parts(ModelLayout((LinearSite("a", "language"),), layout.forward), "dit") == ()
