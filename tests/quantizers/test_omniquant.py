import copy

import pytest
import torch

from quantizers.blocks import record_calls
from quantizers.grids import coded, fake_quantize, grouped_rows
from quantizers.integer import fake_quantize_tokens
from quantizers.learned import START_LOGIT, LearnedBlock, lwc_grid, on_grid, rounded_tokens
from quantizers.omniquant import OmniQuant, plan_omniquant
from quantizers.plan import Rewriting
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from tests.quantizers.architectures import KINDS, build

SHORT = "omniquant:epochs=2,batch_size=6"


def learned_block(kind: str, **options) -> tuple:
    network, layout, calibration = build(kind)
    layers = [name for name in dict(network.named_modules()) if name.startswith("blocks.0.") and
              name.rpartition(".")[2] in ("q", "k", "v", "o", "gate", "up", "down")]
    calls = record_calls(network, layout, "blocks.0", calibration)
    config = OmniQuant(**options)
    return LearnedBlock(network, layout, "blocks.0", dict.fromkeys(layers), calls, config), network, calls


@pytest.mark.parametrize("kind", KINDS)
def test_transformations_alone_leave_the_block(kind):
    learned, network, calls = learned_block(kind)
    with torch.no_grad():
        for parameter in (*learned.scales, *learned.pairs):
            parameter.mul_(torch.rand_like(parameter) + 0.5)
        for parameter in learned.shifts.values():
            parameter.add_(torch.randn_like(parameter))
        moved = copy.deepcopy(network.blocks[0])
        moved.load_state_dict({name.removeprefix("blocks.0."): value for name, value in learned.moved().items()},
                              strict=False)
        assert not torch.equal(moved.q.weight, network.blocks[0].q.weight)
        for call in calls:
            torch.testing.assert_close(call.on(moved), call.on(network.blocks[0]), rtol=1e-4, atol=1e-5)


def test_shifts_exist_only_where_biases_can_take_them():
    assert len(learned_block("vit with layer scale")[0].shifts) == 3
    assert len(learned_block("llama")[0].shifts) == 0


def test_weights_alone_are_clipped_and_not_transformed():
    learned, _, _ = learned_block("llama", activation_bits=None)
    assert not learned.scales and not learned.pairs and len(learned.clips) == 14


def test_logits_start_at_0_982_of_the_range():
    grouped = grouped_rows(torch.randn(5, 16), None)
    logit = torch.full((5, 1, 1), START_LOGIT)
    full = lwc_grid(grouped, torch.full_like(logit, 50.0), torch.full_like(logit, 50.0), 4)
    torch.testing.assert_close(lwc_grid(grouped, logit, logit, 4).scale, full.scale * 0.98201, rtol=2**-10, atol=0)
    torch.testing.assert_close(coded(grouped, full, 4).values(), fake_quantize(grouped.flatten(1), 4, "minmax"))


def test_the_gradient_of_the_logits_is_that_of_finite_differences():
    """The rounding residue, the zero point and what is clipped are held fixed, as they are in the backward pass."""
    grouped = torch.randn(8, 1, 8, dtype=torch.float64)
    logits = [torch.full((8, 1, 1), value, dtype=torch.float64, requires_grad=True) for value in (1.0, 1.5)]
    target = torch.randn_like(grouped)
    (on_grid(grouped, lwc_grid(grouped, *logits, 4, half_scales=False), 4) - target).square().sum().backward()
    with torch.no_grad():
        base = lwc_grid(grouped, *logits, 4, half_scales=False)
        start = (grouped / base.scale).round() + base.zero
        residue, clipped = start - base.zero - grouped / base.scale, start.clamp(-8, 7) != start
        for side in (0, 1):
            for row in range(8):
                losses = []
                for step in (1e-6, -1e-6):
                    moved = [logit.clone() for logit in logits]
                    moved[side][row] += step
                    scale = lwc_grid(grouped, *moved, 4, half_scales=False).scale
                    codes = torch.where(clipped, start.clamp(-8, 7), grouped / scale + residue + base.zero)
                    losses.append(((codes - base.zero) * scale - target).square().sum())
                slope = (losses[0] - losses[1]) / 2e-6
                torch.testing.assert_close(logits[side].grad[row].squeeze(), slope, rtol=1e-4, atol=1e-4)
    assert logits[0].grad.abs().min() > 0


def test_differentiable_rounding_gives_the_values_of_the_layers():
    x = torch.randn(6, 20)
    x[2] = 0
    for bits in (4, 8):
        torch.testing.assert_close(rounded_tokens(x, bits), fake_quantize_tokens(x, bits))
    grouped = grouped_rows(torch.randn(5, 16), 8)
    logit = torch.zeros(5, 2, 1)
    grid = lwc_grid(grouped, logit, logit, 3)
    torch.testing.assert_close(on_grid(grouped, grid, 3).flatten(1), coded(grouped, grid, 3).values())


@pytest.mark.parametrize("kind", ["llama with shared heads", "vit with layer scale", "modulated"])
@pytest.mark.parametrize("bits", ["w4a4", "w3"])
def test_no_block_ends_above_the_loss_it_started_with(kind, bits):
    network, layout, calibration = build(kind)
    audit = quantize_(network, layout, parse_method(f"{SHORT},{bits}"), calibration)
    losses = audit.diagnostics["block_loss"]
    assert set(losses) == {"blocks.0", "blocks.1"}
    assert all(loss["least"] <= loss["start"] for loss in losses.values())
    assert losses["blocks.0"]["least"] < losses["blocks.0"]["start"]


def test_what_is_saved_is_what_was_trained():
    learned, network, calls = learned_block("llama", activation_bits=4, epochs=0)
    _, layout, calibration = build("llama")
    wanted = {name: network.get_submodule(name) for name in learned._groups}
    with torch.no_grad():
        trained = [learned(call) for call in calls]
    config = OmniQuant(epochs=0, backend="reference")
    plan_omniquant(network, layout, wanted, config, calibration).rewrite(Rewriting(network))
    with torch.no_grad():
        for call, answer in zip(calls, trained, strict=True):
            torch.testing.assert_close(call.on(network.blocks[0]), answer, rtol=1e-4, atol=1e-4)


def test_eight_bits_at_the_start_are_nearly_the_network_itself():
    network, layout, calibration = build("gemma")
    actions = layout.forward(network, calibration.batches[0])
    quantize_(network, layout, parse_method("omniquant:w8a8,epochs=0"), calibration)
    moved = layout.forward(network, calibration.batches[0])
    assert (moved - actions).norm() < 0.05 * actions.norm()
