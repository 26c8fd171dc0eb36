import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantizers.grids import CODE_BITS, code_range, dequantize_rows, fake_quantize, half_rows, quantize_rows

CLIPS = ("absmax", "search", "minmax", "five")


def normalized_error(weight: torch.Tensor, bits: int, clip: str) -> float:
    return ((fake_quantize(weight, bits, clip) - weight).square().mean() / weight.square().mean()).item()


@given(st.integers(0, 10_000), st.sampled_from(CODE_BITS), st.floats(-4, 4))
def test_absmax_rounds_by_at_most_half_a_step(seed, bits, exponent):
    weight = torch.randn(3, 17, generator=torch.Generator().manual_seed(seed)) * 10**exponent
    codes, scale, _ = quantize_rows(weight, bits)
    assert ((dequantize_rows(codes, scale) - weight).abs() <= scale * 0.5 * (1 + 1e-5)).all()


@pytest.mark.parametrize("bits", CODE_BITS)
def test_absmax_is_idempotent(bits):
    weight = torch.randn(20, 33)
    once = fake_quantize(weight, bits)
    torch.testing.assert_close(fake_quantize(once, bits), once, rtol=1e-6, atol=0)
    assert torch.equal(quantize_rows(once, bits)[0], quantize_rows(weight, bits)[0])


@pytest.mark.parametrize("bits", CODE_BITS)
def test_absmax_never_uses_the_lowest_code(bits):
    codes, _, _ = quantize_rows(torch.randn(50, 400), bits)
    assert codes.min() == -(2 ** (bits - 1)) + 1 and codes.max() == 2 ** (bits - 1) - 1


def test_two_bit_rows_use_four_levels_only_if_the_scale_is_searched():
    weight = torch.randn(8, 256)
    assert {len(row.unique()) for row in fake_quantize(weight, 2, "absmax")} == {3}
    assert {len(row.unique()) for row in fake_quantize(weight, 2, "search")} == {4}


def test_a_group_of_one_sign_keeps_its_levels():
    weight = torch.linspace(10, 11, 16).reshape(1, 16)
    coded = quantize_rows(weight, 4, "minmax")
    assert ((coded.values() - weight).abs() <= coded.scale * 0.5001).all()
    assert torch.equal(quantize_rows(-weight, 4, "minmax").values(), -coded.values())


@given(st.integers(0, 10_000), st.sampled_from(CODE_BITS), st.floats(-3, 3))
def test_minmax_rounds_by_at_most_half_a_step_and_keeps_zero(seed, bits, shift):
    weight = torch.randn(3, 18, generator=torch.Generator().manual_seed(seed)) + shift
    weight[:, 0] = 0
    coded = quantize_rows(weight, bits, "minmax", group_size=9)
    steps = coded.scale.repeat_interleave(9, dim=1)
    # The zero point is rounded as well, which moves an end of the range by half a step.
    assert ((coded.values() - weight).abs() <= steps * 1.0001).all()
    assert not coded.values()[:, 0].any()
    assert coded.values()[0].unique().numel() <= 2 * 2**bits


@pytest.mark.parametrize("bits", CODE_BITS)
def test_minmax_is_idempotent(bits):
    once = fake_quantize(torch.randn(20, 33) + 0.3, bits, "minmax")
    torch.testing.assert_close(fake_quantize(once, bits, "minmax"), once, rtol=1e-5, atol=1e-6)


def test_five_is_the_best_of_five_scales_and_never_worse_than_absmax():
    weight = torch.randn(40, 64) * torch.rand(40, 1)
    for bits in (2, 3, 4, 8):
        limit = code_range(bits)[1]
        tried = []
        for divisor in (0.5, 0.75, 1.0, 1.25, 1.5):
            scale = (weight.abs().amax(1, keepdim=True) / limit / divisor).half().float()
            codes = (weight / scale).round().clamp(*code_range(bits))
            tried.append((codes * scale - weight).square().sum(1))
        error = (fake_quantize(weight, bits, "five") - weight).square().sum(1)
        torch.testing.assert_close(error, torch.stack(tried).amin(0))
        assert (error <= (fake_quantize(weight, bits, "absmax") - weight).square().sum(1) * (1 + 1e-5)).all()


def test_search_mirrors_the_two_bit_grid_to_suit_the_row():
    row = torch.tensor([[-2.0, -1.0, 0.0, 1.0]])
    for weight in (row, -row):
        torch.testing.assert_close(fake_quantize(weight, 2, "search"), weight)


@pytest.mark.parametrize(
    ("bits", "clip", "expected"), [(8, "absmax", 7.5e-5), (4, "absmax", 0.0245), (2, "absmax", 0.83)]
)
def test_gaussian_rows_of_4096_have_the_error_that_the_theory_gives(bits, clip, expected):
    assert normalized_error(torch.randn(64, 4096), bits, clip) == pytest.approx(expected, rel=0.05)


def test_the_searched_two_bit_scale_beats_absmax_by_far():
    assert normalized_error(torch.randn(64, 4096), 2, "search") < 0.15


@given(st.integers(0, 10_000), st.sampled_from(CODE_BITS))
def test_search_is_never_worse_than_absmax(seed, bits):
    weight = torch.randn(4, 19, generator=torch.Generator().manual_seed(seed)) ** 3
    errors = [(fake_quantize(weight, bits, clip) - weight).square().sum(dim=1) for clip in ("search", "absmax")]
    assert (errors[0] <= errors[1] * (1 + 1e-4) + 1e-12).all()


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("bits", CODE_BITS)
def test_rows_do_not_influence_each_other(bits, clip):
    weight = torch.randn(30, 21)
    order = torch.randperm(30)
    assert torch.equal(fake_quantize(weight[order], bits, clip), fake_quantize(weight, bits, clip)[order])


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("bits", CODE_BITS)
def test_scaling_the_weights_scales_the_result(bits, clip):
    weight = torch.randn(5, 21)
    torch.testing.assert_close(fake_quantize(weight * 64, bits, clip), fake_quantize(weight, bits, clip) * 64)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("bits", CODE_BITS)
def test_constant_zero_and_tiny_rows_stay_finite_and_close(bits, clip):
    weight = torch.tensor([0.0, 10.5, -3.0, 1e-38, 1e-44]).unsqueeze(1).repeat(1, 9)
    result = fake_quantize(weight, bits, clip)
    torch.testing.assert_close(result[:3], weight[:3], rtol=2**-10, atol=0)
    assert torch.isfinite(result).all() and not result[0].any()


def test_more_bits_mean_less_error():
    weight = torch.randn(16, 128)
    for clip in CLIPS:
        errors = [normalized_error(weight, bits, clip) for bits in (0, 2, 4, 8, 16)]
        assert errors == sorted(errors, reverse=True)


def test_zero_bits_are_zeros_and_sixteen_bits_are_float16():
    weight = torch.randn(3, 5)
    assert not fake_quantize(weight, 0).any()
    assert torch.equal(fake_quantize(weight.half().float(), 16), weight.half().float())


def test_groups_have_their_own_scale():
    weight = torch.cat([torch.randn(4, 8), 100 * torch.randn(4, 8)], dim=1)
    codes, scale, _ = quantize_rows(weight, 4, group_size=8)
    assert scale.shape == (4, 2)
    halves = torch.cat([fake_quantize(part, 4) for part in weight.split(8, dim=1)], dim=1)
    assert torch.equal(dequantize_rows(codes, scale), halves)


def test_a_group_size_that_does_not_divide_is_an_error():
    with pytest.raises(ValueError, match="group size 7 does not divide the 16 inputs"):
        quantize_rows(torch.randn(2, 16), 4, group_size=7)


def test_weights_that_are_not_finite_are_an_error():
    with pytest.raises(ValueError, match="NaN"):
        quantize_rows(torch.tensor([[1.0, float("nan")]]), 4)


def test_a_row_too_large_for_float16_is_an_error():
    with pytest.raises(ValueError, match="65504"):
        half_rows(torch.tensor([[1e5]]))


def test_half_precision_weights_are_quantized_in_float32():
    weight = torch.randn(4, 64).bfloat16()
    assert torch.equal(fake_quantize(weight, 8), fake_quantize(weight.float(), 8))
