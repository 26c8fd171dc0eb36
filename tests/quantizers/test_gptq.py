"""Names of the problems: AR inputs are neighbours that correlate, low-rank inputs live in few directions."""

import itertools

import pytest
import torch
from torch import nn

from quantizers.blocks import observe
from quantizers.gptq import GPTQ, damped, gptq, inverse_factor, inverted_, plan_gptq
from quantizers.grids import fake_quantize, fit_grid, grouped_rows
from quantizers.plan import Rewriting
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from tests.quantizers.architectures import build
from tests.quantizers.live import LiveBytes


def moments(kind: str, seed: int, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if kind == "iid":
        x = torch.randn(8 * size, size, generator=generator, dtype=torch.float64)
    elif kind == "ar":
        distance = (torch.arange(size).unsqueeze(1) - torch.arange(size)).abs()
        return 0.9 ** distance.double()
    else:
        x = torch.randn(8 * size, 8, generator=generator, dtype=torch.float64)
        x = x @ torch.randn(8, size, generator=generator, dtype=torch.float64)
        x += 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return x.t() @ x / len(x)


def error(weight: torch.Tensor, values: torch.Tensor, h: torch.Tensor) -> float:
    difference = (weight - values).double()
    return ((difference @ h) * difference).sum().item()


def gain(kind: str, seed: int, bits: int = 4, **options) -> float:
    weight, h = torch.randn(8, 32, generator=torch.Generator().manual_seed(seed + 999)), moments(kind, seed)
    clip = options.get("clip", "minmax")
    rounded = fake_quantize(weight, bits, clip, options.get("group_size"))
    return error(weight, rounded, h) / error(weight, gptq(weight, h, bits, **options).values(), h)


def test_independent_inputs_of_equal_power_give_round_to_nearest():
    weight = torch.randn(20, 40)
    for clip in ("minmax", "absmax"):
        assert torch.equal(gptq(weight, 3 * torch.eye(40), 4, clip).values(), fake_quantize(weight, 4, clip))


@pytest.mark.parametrize(("kind", "least"), [("iid", 1.0), ("ar", 2.0), ("low rank", 2.0)])
@pytest.mark.parametrize("act_order", [False, True])
def test_the_error_is_below_that_of_round_to_nearest_on_the_same_grid(kind, least, act_order):
    gains = torch.tensor([gain(kind, seed, act_order=act_order) for seed in range(100)])
    assert (gains >= 1).sum() >= 95 and gains.median() > least


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_every_width_gains_from_correlated_inputs(bits):
    assert sum(gain("ar", seed, bits, act_order=True) for seed in range(10)) > 15


@pytest.mark.parametrize("options", [{}, {"act_order": True}, {"group_size": 8}, {"group_size": 8, "act_order": True}])
def test_the_size_of_blocks_changes_nothing(options):
    weight, h = torch.randn(16, 48), moments("low rank", 3, 48)
    results = [gptq(weight, h, 4, block_columns=block, **options) for block in (1, 5, 8, 24, 48, 200)]
    for other in results[1:]:
        assert torch.equal(other.codes, results[0].codes) and torch.equal(other.scale, results[0].scale)


def naive(weight: torch.Tensor, h: torch.Tensor, bits: int) -> torch.Tensor:
    """Optimal brain quantization in a fixed order: invert what remains after every column."""
    weight, columns = weight.double().clone(), weight.shape[1]
    grid = fit_grid(grouped_rows(weight.float(), None), bits, "minmax")
    scale, zero = (part.squeeze(2).squeeze(1).double() for part in grid)
    h = h + 0.01 * h.diagonal().mean() * torch.eye(columns, dtype=torch.float64)
    result = torch.empty_like(weight)
    for i in range(columns):
        inverse = torch.linalg.inv(h[i:, i:])
        low = -(1 << bits - 1)
        codes = ((weight[:, i] / scale).round() + zero).clamp(low, -low - 1)
        result[:, i] = (codes - zero) * scale
        step = (weight[:, i] - result[:, i]) / inverse[0, 0]
        weight[:, i:] -= step.unsqueeze(1) * inverse[0]
    return result


def test_it_agrees_with_inverting_what_remains_at_every_column():
    for seed in range(5):
        weight, h = torch.randn(6, 20, generator=torch.Generator().manual_seed(seed)), moments("low rank", seed, 20)
        torch.testing.assert_close(gptq(weight, h, 4).values().double(), naive(weight, h, 4), rtol=1e-6, atol=1e-6)


def test_it_is_never_below_the_best_of_all_codes_and_nearer_to_it_than_round_to_nearest():
    ratios = []
    for seed in range(20):
        weight, h = torch.randn(1, 6, generator=torch.Generator().manual_seed(seed)), moments("ar", seed, 6)
        coded = gptq(weight, h, 2)
        levels = (torch.arange(-2, 2) - coded.zero[0, 0].float()) * coded.scale[0, 0]
        best = min(error(weight, torch.tensor([choice]), h) for choice in itertools.product(levels.tolist(), repeat=6))
        ours, nearest = error(weight, coded.values(), h), error(weight, fake_quantize(weight, 2, "minmax"), h)
        assert ours >= best * (1 - 1e-6)
        ratios.append((ours / best, nearest / best))
    ours, nearest = torch.tensor(ratios).mean(dim=0)
    assert ours <= nearest


def test_inputs_that_are_always_zero_get_no_weight_and_disturb_nothing():
    weight, h = torch.randn(4, 12), moments("ar", 0, 12)
    h[3], h[:, 3] = 0, 0
    values = gptq(weight, h, 4, act_order=True).values()
    assert torch.isfinite(values).all() and not values[:, 3].any()
    assert torch.isfinite(gptq(weight, torch.zeros(12, 12), 4).values()).all()


@pytest.mark.parametrize("size", [1, 2, 40])
def test_the_factor_is_that_of_the_inverse_of_the_damped_moments_in_order(size):
    h, order = moments("ar", 0, size), torch.randperm(size)
    mean = h.diagonal().mean()
    wanted = torch.linalg.cholesky(torch.linalg.inv(h[order][:, order] + 0.1 * mean * torch.eye(size)), upper=True)
    torch.testing.assert_close(inverse_factor(h, order, 0.1), wanted)


def test_the_factor_takes_one_matrix_and_no_second(monkeypatch):
    monkeypatch.setattr("quantizers.gptq._GATHERED_ROWS", 8)
    h = moments("ar", 0, 160).float()
    with LiveBytes(nn.Module()) as live:
        inverted_(damped(h, torch.arange(160), 0.01))
    assert 8 * 160**2 <= live.peak < 1.2 * 8 * 160**2


def test_groups_of_the_activation_order_have_the_grids_of_the_original_weights():
    weight, h = torch.randn(4, 32), moments("low rank", 1)
    coded = gptq(weight, h, 4, group_size=8, act_order=True)
    assert torch.equal(coded.scale, fit_grid(grouped_rows(weight, 8), 4, "minmax").scale.squeeze(2))
    assert gain("ar", 0, group_size=8) > 1


def test_later_blocks_see_the_quantized_earlier_ones():
    network, layout, calibration = build("llama")
    wanted = {name: network.get_submodule(name) for name in ("blocks.0.down", "blocks.1.q")}
    full = network.blocks[1].q.weight.detach()
    plan_gptq(network, layout, wanted, GPTQ(weight_bits=2), calibration).rewrite(Rewriting(network))
    h = torch.zeros(32, 32)
    observe(network, layout, ["blocks.1.q"], calibration, lambda name, x: h.addmm_(x.t(), x))
    alone = gptq(full, h, 2, act_order=True)
    assert torch.equal(network.blocks[1].q.dequantized_weight(), alone.values())


def test_the_audit_tells_the_gain_of_every_layer_and_the_network_gains_too():
    network, layout, calibration = build("llama")
    actions = layout.forward(network, calibration.batches[0])
    moved = {}
    for text in ("rtn:w3,clip=minmax,roles=language", "gptq:w3,roles=language"):
        twin, layout, calibration = build("llama")
        audit = quantize_(twin, layout, parse_method(text), calibration)
        moved[text] = (layout.forward(twin, calibration.batches[0]) - actions).norm()
    shares = audit.diagnostics["error_over_round_to_nearest"]
    assert len(shares) == 14 and sum(share < 1 for share in shares.values()) >= 13
    assert moved["gptq:w3,roles=language"] < moved["rtn:w3,clip=minmax,roles=language"]
