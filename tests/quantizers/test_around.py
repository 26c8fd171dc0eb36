"""Turns and static scales of packed layers: every backend agrees, files are checked, nothing is lost."""

import pytest
import torch
from torch.nn import functional as F

from quantizers.around import AROUND, Around
from quantizers.grids import quantize_rows
from quantizers.linear import QuantLinear
from quantizers.native import why_unavailable
from quantizers.rotation import input_blocks, moved_in, moved_out, output_blocks

INTEGER = ["cpu"] + ([] if why_unavailable() else ["mixed"])
INPUTS, OUTPUTS = 16, 24


def made(backend: str, activation_bits: int | None = 8, bits: int = 8, **around: torch.Tensor):
    """A layer of eight bits with both turns, its full-precision weight and its bias."""
    torch.manual_seed(0)
    weight, bias = torch.randn(OUTPUTS, INPUTS), torch.randn(OUTPUTS)
    order = torch.randperm(INPUTS).int()
    turn_in = input_blocks(weight[:, order.long()], 8, "svd_hadamard").half()
    turn_out = output_blocks(weight, 8).half()
    moved = moved_out(moved_in(weight[:, order.long()], turn_in), turn_out).float()
    coded = quantize_rows(moved, bits, "five", 8)
    surroundings = Around(order=order, turn_in=turn_in, turn_out=turn_out, **around)
    options = {"around": surroundings, "activation_bits": activation_bits, "backend": backend}
    return QuantLinear.from_codes(coded, bits, moved_out(bias, turn_out).float(), **options), weight, bias


def test_turns_leave_what_the_layer_computes():
    layer, weight, bias = made("reference", activation_bits=None)
    x = torch.randn(3, 5, INPUTS)
    expected = F.linear(x, weight, bias)
    assert (layer(x) - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("activation_bits", [4, 8])
@pytest.mark.parametrize("static", [None, torch.tensor([[0.05]])])
@pytest.mark.parametrize("backend", INTEGER)
def test_integer_backends_equal_the_reference(backend, static, activation_bits):
    layer, *_ = made(backend, activation_bits, 4, static_scale=static)
    reference, *_ = made("reference", activation_bits, 4, static_scale=static)
    x = torch.randn(7, INPUTS)
    torch.testing.assert_close(layer(x), reference(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(layer.accumulators(x), reference.accumulators(x))


def test_a_static_scale_is_the_same_for_every_token_and_clips():
    coded = quantize_rows(torch.eye(INPUTS), 8)
    layer = QuantLinear.from_codes(coded, 8, None, around=Around(static_scale=torch.tensor([[0.5]])), activation_bits=4)
    x = torch.zeros(2, INPUTS)
    x[0, 0], x[1, :2] = 0.9, torch.tensor([0.9, 100.0])
    y = layer(x)
    assert y[0, 0] == y[1, 0] == pytest.approx(1.0, rel=2**-11) and y[1, 1] == 3.5 * y[0, 0]


def test_a_static_scale_lets_nan_show():
    layer, *_ = made("cpu", static_scale=torch.tensor([[0.05]]))
    x = torch.randn(3, INPUTS)
    x[1, 4] = float("nan")
    assert torch.isfinite(layer(x)).all(dim=1).tolist() == [True, False, True]


def test_scales_per_channel_are_for_the_reference_alone():
    table = torch.rand(1, INPUTS) * 0.1 + 0.01
    layer, weight, bias = made("reference", static_scale=table)
    expected = F.linear(torch.randn(4, INPUTS), weight, bias)
    assert torch.isfinite(layer(torch.randn(4, INPUTS))).all() and expected.shape == (4, OUTPUTS)
    with pytest.raises(ValueError, match="per input channel cannot leave the integer product of backend 'cpu'"):
        made("cpu", static_scale=table)
    buffers = {name: buffer for name, buffer in layer.state_dict().items()}
    options = {"group_size": 8, "activation_bits": 8}
    with pytest.raises(ValueError, match="cannot leave the integer product"):
        QuantLinear.from_buffers(buffers, INPUTS, OUTPUTS, backend="cpu", **options)
    again = QuantLinear.from_buffers(buffers, INPUTS, OUTPUTS, **options)
    x = torch.randn(4, INPUTS)
    assert torch.equal(again(x), layer(x))


def test_what_is_around_the_product_is_counted_and_comes_back():
    layer, *_ = made("reference", static_scale=torch.tensor([[0.1], [0.2]]), static_time=torch.tensor([0.0, 0.5]))
    assert layer.metadata_bytes() == 2 * OUTPUTS * 2 + 4 * INPUTS + 2 * (INPUTS * 8 + OUTPUTS * 8) + 4 * 2 + 4 * 2
    again = QuantLinear.from_buffers(layer.state_dict(), INPUTS, OUTPUTS, group_size=8, activation_bits=8)
    assert all(torch.equal(a, b) for a, b in zip(again._around(), layer._around(), strict=True) if a is not None)
    assert again._around().multiply_adds() == INPUTS * 8 + OUTPUTS * 8
    # Half precision of the whole network must not touch the types of what is stored.
    assert {layer.half()._buffers[name].dtype for name in ("turn_in", "static_scale")} == {torch.float16, torch.float32}


BAD = {
    "order": (torch.zeros(INPUTS, dtype=torch.int32), "each of the 16 inputs exactly once"),
    "turn_in": (torch.zeros(2, 8, 4, dtype=torch.float16), "square blocks of 16 channels"),
    "turn_out": (torch.full((3, 8, 8), torch.inf, dtype=torch.float16), "NaN or infinite"),
    "static_scale": (torch.zeros(1, 1), "not a positive number"),
    "static_time": (torch.tensor([0.5]), "one time for each row"),
    "input_scale": (torch.ones(3), "must be torch.float32 of"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_buffer_that_does_not_fit_is_refused(name):
    layer, *_ = made("reference")
    tensor, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        QuantLinear.from_buffers(layer.state_dict() | {name: tensor}, INPUTS, OUTPUTS, group_size=8, activation_bits=8)
    assert set(BAD) == set(AROUND)


def test_times_must_rise_and_go_with_the_scales():
    layer, *_ = made("reference")
    for times, message in (([0.5, 0.5], "must rise"), (None, "no static_time says when")):
        extra = {"static_scale": torch.ones(2, 1)} | ({} if times is None else {"static_time": torch.tensor(times)})
        with pytest.raises(ValueError, match=message):
            QuantLinear.from_buffers(layer.state_dict() | extra, INPUTS, OUTPUTS, group_size=8, activation_bits=8)
    wrong = layer.state_dict() | {"turn_in": layer.turn_in.float()}
    with pytest.raises(ValueError, match="turn_in is torch.float32; it must be torch.float16"):
        QuantLinear.from_buffers(wrong, INPUTS, OUTPUTS, group_size=8, activation_bits=8)
