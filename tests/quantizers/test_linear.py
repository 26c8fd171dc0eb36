import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from quantizers.around import Around
from quantizers.grids import CHANNEL_BITS, fake_quantize, quantize_rows
from quantizers.integer import fake_quantize_tokens, quantize_tokens
from quantizers.linear import QuantLinear
from quantizers.native import why_unavailable

INTEGER_BACKENDS = [
    "cpu",
    pytest.param("mixed", marks=pytest.mark.skipif(bool(why_unavailable()), reason=str(why_unavailable()))),
]
MIXES = {
    "all at 2": [2],
    "all at 3": [3],
    "all at 4": [4],
    "all at 8": [8],
    "all at 16": [16],
    "all pruned": [0],
    "every width": [0, 2, 3, 4, 8, 16],
    "no float rows": [0, 2, 4, 8],
    "nothing pruned": [8, 2],
    "pruned or float": [0, 16],
}


def available(*backends: str) -> list[str]:
    return [backend for backend in backends if backend != "mixed" or not why_unavailable()]


def mixed_bits(rows: int, widths: list[int]) -> torch.Tensor:
    choice = torch.randint(len(widths), (rows,), generator=torch.Generator().manual_seed(rows))
    return torch.tensor(widths)[choice]


def fake_weight(weight: torch.Tensor, bits: torch.Tensor, clip: str = "absmax") -> torch.Tensor:
    result = torch.empty_like(weight)
    for width in CHANNEL_BITS:
        result[bits == width] = fake_quantize(weight[bits == width], width, clip)
    return result


def tensors_of(layer: nn.Module) -> list[torch.Tensor]:
    found = []

    def walk(value: object) -> None:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list | tuple):
            for item in value:
                walk(item)

    walk(vars(layer))
    return found


@pytest.mark.parametrize("widths", MIXES.values(), ids=MIXES.keys())
@pytest.mark.parametrize("clip", ["absmax", "search", "minmax"])
@pytest.mark.parametrize("biased", [True, False])
def test_the_reference_backend_equals_the_fake_quantized_layer_bit_for_bit(widths, clip, biased):
    weight, bias, x = torch.randn(37, 29), torch.randn(37) if biased else None, torch.randn(2, 5, 29)
    bits = mixed_bits(37, widths)
    layer = QuantLinear(weight, bias, bits, clip=clip)
    expected = fake_weight(weight, bits, clip)
    assert torch.equal(layer.dequantized_weight(), expected)
    assert torch.equal(layer(x), F.linear(x.reshape(10, 29), expected, bias).reshape(2, 5, 37))
    assert torch.equal(layer.channel_bits(), bits)


@pytest.mark.parametrize("widths", MIXES.values(), ids=MIXES.keys())
@pytest.mark.parametrize("group_size", [None, 10])
@pytest.mark.parametrize("clip", ["absmax", "minmax"])
@pytest.mark.parametrize("activation_bits", [4, 8])
@pytest.mark.parametrize("backend", INTEGER_BACKENDS)
def test_integer_backends_agree_with_the_reference_backend(widths, group_size, clip, activation_bits, backend):
    weight, bias, x = torch.randn(37, 30), torch.randn(37), torch.randn(2, 5, 30)
    bits = mixed_bits(37, widths)
    layers = [
        QuantLinear(
            weight, bias, bits, clip=clip, group_size=group_size, activation_bits=activation_bits, backend=name
        )
        for name in ("reference", backend)
    ]
    torch.testing.assert_close(layers[0](x), layers[1](x), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(bool(why_unavailable()), reason=str(why_unavailable()))
@pytest.mark.parametrize("widths", MIXES.values(), ids=MIXES.keys())
@pytest.mark.parametrize("group_size", [None, 8])
@pytest.mark.parametrize("clip", ["absmax", "minmax"])
@pytest.mark.parametrize("sort", [True, False])
def test_both_integer_backends_give_the_same_bits(widths, group_size, clip, sort):
    weight, bias, bits = torch.randn(37, 64), torch.randn(37), mixed_bits(37, widths)
    bits = bits.sort().values if sort else bits
    x = torch.randn(9, 64) * 10 ** torch.randn(9, 1)
    for b in (bias, None):
        first, second = (
            QuantLinear(weight, b, bits, clip=clip, group_size=group_size, activation_bits=8, backend=backend)
            for backend in ("cpu", "mixed")
        )
        assert torch.equal(first(x), second(x))
        assert torch.equal(first(x.t().contiguous().t()), second(x.t().contiguous().t()))


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 7, 49]))
def test_accumulators_equal_the_integer_reference(rows, inputs, tokens):
    weight, x = torch.randn(rows, inputs), torch.randn(tokens, inputs)
    bits = mixed_bits(rows, [2, 4, 8])
    layer = QuantLinear(weight, None, bits, activation_bits=8, backend="cpu")
    codes = torch.cat([quantize_rows(weight[bits == width], width)[0] for width in (2, 4, 8)])
    expected = quantize_tokens(x)[0].long() @ codes.long().t()
    assert torch.equal(layer.accumulators(x)[0].long(), expected)


@pytest.mark.parametrize("backend", available("reference", "cpu", "mixed"))
def test_an_input_scale_divides_the_input_before_it_is_quantized(backend):
    weight, bias, x, scale = torch.randn(5, 8), torch.randn(5), torch.randn(3, 8), torch.rand(8) + 0.5
    coded = quantize_rows(weight, 4, "minmax", group_size=4)
    options = {"activation_bits": 4, "backend": backend}
    plain = QuantLinear.from_codes(coded, 4, bias, **options)
    scaled = QuantLinear.from_codes(coded, 4, bias, around=Around(scale), **options)
    assert torch.equal(scaled(x), plain(x / scale))
    assert scaled.metadata_bytes() == plain.metadata_bytes() + 32 == 5 * 2 * (2 + 1) + 32
    again = QuantLinear.from_buffers(scaled.state_dict(), 8, 5, group_size=4, **options)
    assert torch.equal(again(x), scaled(x))


@pytest.mark.parametrize("activation_bits", [4, 8])
def test_zero_points_leave_the_integers_exact(activation_bits):
    weight, x = torch.rand(6, 12) + 0.5, torch.rand(7, 12)
    layer = QuantLinear(weight, None, mixed_bits(6, [2, 3, 4, 8]), clip="minmax", activation_bits=activation_bits)
    codes, scale = quantize_tokens(x, activation_bits)
    rows = layer.dequantized_weight()
    exact = (codes.double() * scale.double()) @ rows.double().t()
    for backend in available("cpu", "mixed"):
        layer.backend = backend
        torch.testing.assert_close(layer(x).double(), exact, rtol=1e-6, atol=1e-6)


def test_rows_of_16_bits_see_the_input_as_it_came():
    weight, x = torch.randn(6, 8), torch.randn(3, 8)
    bits = torch.tensor([16, 8, 16, 0, 4, 16])
    for backend in available("reference", "cpu", "mixed"):
        y = QuantLinear(weight, None, bits, activation_bits=8, backend=backend)(x)
        torch.testing.assert_close(y[:, bits == 16], F.linear(x, weight[bits == 16].half().float()))
        torch.testing.assert_close(y[:, 1], F.linear(fake_quantize_tokens(x), fake_quantize(weight[1:2], 8))[:, 0])


def test_pruned_rows_yield_their_bias():
    bias = torch.randn(4)
    combinations = [(None, "reference"), *((8, backend) for backend in available("reference", "cpu", "mixed"))]
    for activation_bits, backend in combinations:
        bits = torch.tensor([0, 8, 0, 16])
        layer = QuantLinear(torch.randn(4, 6), bias, bits, activation_bits=activation_bits, backend=backend)
        y = layer(torch.randn(3, 6))
        assert torch.equal(y[:, bits == 0], bias[bits == 0].expand(3, 2))


@pytest.mark.parametrize("backend", INTEGER_BACKENDS)
def test_a_token_gives_the_same_bits_alone_and_in_a_batch(backend):
    bits = mixed_bits(33, [0, 2, 4, 8])
    layer = QuantLinear(torch.randn(33, 48), torch.randn(33), bits, activation_bits=8, backend=backend)
    x = torch.randn(9, 48)
    together = layer(x)
    assert torch.equal(together, torch.cat([layer(token) for token in x.split(1)]))
    loud = layer(torch.cat([x[:8], x[8:] * 1e4]))
    assert torch.equal(loud[:8], together[:8])


@pytest.mark.parametrize("widths", MIXES.values(), ids=MIXES.keys())
@pytest.mark.parametrize("backend", INTEGER_BACKENDS)
def test_held_bytes_are_those_of_every_tensor_reachable_from_the_layer(widths, backend):
    weight, bias = torch.randn(37, 64), torch.randn(37)
    layer = QuantLinear(weight, bias, mixed_bits(37, widths), activation_bits=8, backend=backend)
    layer(torch.randn(3, 64))
    tensors = tensors_of(layer)
    assert layer.held_bytes() == sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    assert not list(layer.parameters())
    # Nothing floating except scales, bias and the rows that stay at 16 bits.
    floating = sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())
    bits = layer.channel_bits()
    assert floating == 37 + int(((bits > 0) & (bits < 16)).sum()) + 64 * int((bits == 16).sum())


def test_packed_rows_take_the_bytes_that_their_widths_say():
    bits = torch.tensor([0, 2, 2, 4, 8, 16])
    layer = QuantLinear(torch.randn(6, 64), torch.randn(6), bits)
    codes, scales, positions, bias = 2 * 16 + 32 + 64 + 128, 4 * 4, 0, 24
    assert layer.held_bytes() == codes + scales + positions + bias + 6 * 4
    assert layer.metadata_bytes() == scales // 2 + 6
    assert layer.stored_bytes() == codes + scales // 2 + 6 + bias // 2


def test_a_layer_of_one_width_needs_no_table_of_positions():
    layer = QuantLinear(torch.randn(6, 64), None, torch.full((6,), 4))
    assert layer.positions is None and layer.held_bytes() == 6 * 32 + 6 * 4


def test_a_saved_layer_loads_into_one_of_the_same_widths():
    bits = mixed_bits(12, [0, 2, 4, 8, 16])
    layer = QuantLinear(torch.randn(12, 10), torch.randn(12), bits)
    other = QuantLinear(torch.randn(12, 10), torch.randn(12), bits)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(2, 10)
    assert torch.equal(layer(x), other(x))


@pytest.mark.parametrize("backend", INTEGER_BACKENDS)
def test_a_broken_token_reaches_the_output_and_spares_the_others(backend):
    layer = QuantLinear(torch.randn(5, 8), None, mixed_bits(5, [2, 4, 8]), activation_bits=8, backend=backend)
    x = torch.randn(3, 8)
    x[1, 2] = float("nan")
    y = layer(x)
    assert y[1].isnan().all() and torch.isfinite(y[[0, 2]]).all()


def test_half_precision_inputs_give_half_precision_outputs():
    layer = QuantLinear(torch.randn(4, 8), None, torch.full((4,), 8), activation_bits=8, backend="cpu")
    assert layer(torch.randn(2, 8).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": torch.tensor([8, 5])}, "cannot have 5 bits; legal widths are 0, 2, 3, 4, 8, 16"),
        ({"bits": torch.tensor([8])}, "one per row"),
        ({"bits": torch.tensor([8, 8]), "activation_bits": 6}, "activation_bits is 6"),
        ({"bits": torch.tensor([8, 8]), "backend": "gpu"}, "unknown backend 'gpu'"),
        ({"bits": torch.tensor([8, 8]), "backend": "cpu"}, "needs activation_bits=4 or 8"),
    ],
)
def test_impossible_layers_are_errors_that_name_the_legal_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        QuantLinear(torch.randn(2, 4), None, **arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("backend", ["reference", *INTEGER_BACKENDS])
def test_a_cast_of_the_whole_network_leaves_codes_scales_and_bias_alone(dtype, backend):
    bits, x = mixed_bits(37, [0, 2, 4, 8, 16]), torch.randn(5, 29)
    layer = QuantLinear(torch.randn(37, 29), torch.randn(37), bits, activation_bits=8, backend=backend)
    before, y = {name: buffer.clone() for name, buffer in layer.named_buffers()}, layer(x)
    network = nn.Sequential(layer, nn.Linear(37, 2)).to(dtype)
    assert network[1].weight.dtype == dtype
    for name, buffer in layer.named_buffers():
        assert buffer.dtype == before[name].dtype and torch.equal(buffer, before[name])
    assert torch.equal(layer(x), y) and layer(x.to(dtype)).dtype == dtype


def test_the_bias_of_a_network_in_float16_is_held_in_float32():
    layer = QuantLinear(torch.randn(3, 4).half(), torch.ones(3).half(), torch.full((3,), 8))
    assert layer.bias.dtype == torch.float32 and layer.stored_bytes() == layer.held_bytes() - 6 - 3 * 2
