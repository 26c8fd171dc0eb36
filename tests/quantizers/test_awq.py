import pytest
import torch
from torch import nn

from quantizers.awq import AWQ, plan_awq
from quantizers.blocks import common_part
from quantizers.calibration import CalibrationSet
from quantizers.clipping import clip_and_code, row_error
from quantizers.folds import LinearFold
from quantizers.grids import fake_quantize, quantize_rows
from quantizers.layout import LinearSite, ModelLayout
from quantizers.plan import Rewriting
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from quantizers.salience import candidate_scale, search_ratio
from tests.quantizers.architectures import KINDS, build


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_alone_leaves_the_actions(kind):
    """At 8 bits in groups of 8 what remains of the rounding is small against any wrong scale."""
    network, layout, calibration = build(kind)
    actions = layout.forward(network, calibration.batches[0])
    audit = quantize_(network, layout, parse_method("awq:w8a16,group=8,clip_steps=1,ratios=4"), calibration)
    assert any(ratio > 0 for ratio in audit.diagnostics["ratios"].values())
    moved = layout.forward(network, calibration.batches[0])
    assert (moved - actions).norm() < 0.01 * actions.norm()


def one_layer(inputs: int = 16) -> tuple[nn.Module, ModelLayout, torch.Tensor]:
    module = nn.Sequential(nn.Linear(inputs, 6)).eval()
    x = torch.randn(40, inputs) * torch.logspace(-1, 1, inputs)
    return module, ModelLayout((LinearSite("0", "language"),), lambda m, batch: m(batch["x"]).unsqueeze(1)), x


def test_the_chosen_ratio_is_the_best_of_an_exhaustive_search():
    module, layout, x = one_layer()
    weight = module[0].weight.detach()
    losses = []
    for k in range(20):
        scale = candidate_scale(x.abs().mean(dim=0), k / 20)
        tried = fake_quantize(weight * scale, 3, "minmax", 8) / scale
        losses.append((x @ (tried - weight).t()).square().sum().item())
    plan = plan_awq(module, layout, {"0": module[0]}, AWQ(weight_bits=3, group_size=8), CalibrationSet.of([{"x": x}]))
    assert plan.rewrite(Rewriting(module))["ratios"]["0"] == losses.index(min(losses)) / 20 > 0


def test_ratio_zero_and_no_clipping_are_round_to_nearest():
    module, layout, x = one_layer()
    weight = module[0].weight.detach().clone()
    config = AWQ(group_size=8, ratios=1, clip_steps=1)
    plan_awq(module, layout, {"0": module[0]}, config, CalibrationSet.of([{"x": x}])).rewrite(Rewriting(module))
    assert module[0].input_scale is None
    assert torch.equal(module[0].dequantized_weight(), fake_quantize(weight, 4, "minmax", 8))


def test_a_single_token_is_enough_to_search_and_clip():
    module, layout, x = one_layer()
    plan = plan_awq(module, layout, {"0": module[0]}, AWQ(group_size=8), CalibrationSet.of([{"x": x[:1]}]))
    plan.rewrite(Rewriting(module))
    assert torch.isfinite(module(x)).all()


def test_the_search_never_ends_above_the_loss_without_scales():
    importance = torch.rand(8)
    losses = {}

    def loss(scale: torch.Tensor) -> float:
        return losses.setdefault(tuple(scale.tolist()), torch.rand(1).item())

    _, scale = search_ratio(importance, loss, 20)
    assert len(losses) == 20 and losses[tuple(scale.tolist())] == min(losses.values())
    assert search_ratio(importance, lambda scale: 1.0, 20)[0] == 0.0


def test_scales_are_centred_on_one():
    scale = candidate_scale(torch.tensor([1e-9, 0.1, 1.0, 50.0]), 0.7)
    assert (scale.max() * scale.min()).item() == pytest.approx(1.0)


@pytest.mark.parametrize("clip", ["minmax", "absmax"])
def test_clipping_never_raises_the_error_of_a_group(clip):
    weight, x = torch.randn(10, 32) ** 3, torch.randn(70, 32)
    gram = x.t() @ x
    coded = [clip_and_code(weight, gram, 3, clip, 8, steps) for steps in (1, 10)]
    assert torch.equal(coded[0].codes, quantize_rows(weight, 3, clip, 8).codes)
    for k in range(0, 32, 8):
        part = slice(k, k + 8)
        errors = [row_error((c.values() - weight)[:, part], gram[part, part]) for c in coded]
        assert (errors[1] <= errors[0] * (1 + 1e-5)).all()
    assert not torch.equal(coded[0].scale, coded[1].scale)


def test_inputs_that_nobody_saw_clip_nothing():
    weight = torch.randn(4, 16)
    coded = clip_and_code(weight, torch.zeros(16, 16), 4, "minmax", None, 10)
    assert torch.equal(coded.values(), fake_quantize(weight, 4, "minmax"))


def test_queries_and_keys_are_not_clipped_and_shared_value_heads_not_scaled():
    network, layout, calibration = build("llama with shared heads")
    audit = quantize_(network, layout, parse_method("awq:w3,group=none,ratios=1"), calibration)
    original, _, _ = build("llama with shared heads")
    for name, same in (("q", True), ("k", True), ("gate", False), ("down", False)):
        rounded = fake_quantize(original.blocks[0].get_submodule(name).weight, 3, "minmax")
        assert torch.equal(network.blocks[0].get_submodule(name).dequantized_weight(), rounded) == same
    assert set(audit.diagnostics["ratios"]) == {f"blocks.{i}.{p}" for i in (0, 1) for p in ("norm1", "norm2", "up")}


def test_a_group_of_consumers_is_judged_by_the_module_that_holds_them():
    assert common_part(("b.0.attn.q", "b.0.attn.k"), "b.0") == "b.0.attn"
    assert common_part(("b.0.q", "b.0.k"), "b.0") == "b.0"
    assert common_part(("q", "k"), "") == ""


def test_a_producer_in_an_earlier_block_is_left_alone_and_the_consumer_scales_its_own_input():
    module = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 6)).eval()
    sites = (LinearSite("0", "language"), LinearSite("2", "language"))
    forward = lambda m, batch: m(batch["x"]).unsqueeze(1)  # noqa: E731
    layout = ModelLayout(sites, forward, (LinearFold("0", ("2",)),))
    x = torch.randn(40, 16) * torch.logspace(-1, 1, 16)
    actions = module(x)
    quantize_(module, layout, parse_method("awq:w8,group=8"), CalibrationSet.of([{"x": x}]))
    assert module[2].input_scale is not None
    assert (module(x) - actions).norm() < 0.02 * actions.norm()


def test_a_layer_without_a_neighbour_keeps_its_scale_and_pays_for_it():
    module, layout, x = one_layer()
    audit = quantize_(module, layout, parse_method("awq:w3,group=8"), CalibrationSet.of([{"x": x}]))
    layer = module[0]
    assert layer.input_scale.shape == (16,)
    assert audit.layers[0].metadata_bytes == 6 * 2 * (2 + 1) + 16 * 4
    without, layout, _ = one_layer()
    quantize_(without, layout, parse_method("awq:w3,group=8,input_scales=false"), CalibrationSet.of([{"x": x}]))
    assert without[0].input_scale is None
