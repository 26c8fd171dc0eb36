import pytest
import torch

from quantizers.integer import accumulate, fake_quantize_tokens, float_product, quantize_tokens, rescale


def random_codes(*shape: int) -> torch.Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


@pytest.mark.parametrize("tokens", [1, 2, 7, 49])
@pytest.mark.parametrize(("inputs", "rows"), [(1, 1), (7, 3), (33, 17), (64, 64), (1024, 5)])
def test_accumulators_are_the_exact_integers(tokens, inputs, rows):
    x, w = random_codes(tokens, inputs), random_codes(rows, inputs)
    assert torch.equal(accumulate(x, w, 1)[0].long(), x.long() @ w.long().t())


def test_extreme_codes_do_not_saturate():
    x, w = torch.full((2, 4096), 127, dtype=torch.int8), torch.full((3, 4096), -128, dtype=torch.int8)
    assert (accumulate(x, w, 1) == -127 * 128 * 4096).all()


@pytest.mark.parametrize("inputs", [1, 7, 1024, 1025, 4097])
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_float32_multiplies_codes_exactly(inputs, precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        extremes = [torch.full((rows, inputs), -128, dtype=torch.int8) for rows in (2, 4)]
        for x, w in ((random_codes(5, inputs), random_codes(3, inputs)), extremes):
            assert torch.equal(float_product(x, w).long(), x.long() @ w.long().t())
    finally:
        torch.set_float32_matmul_precision(before)


def test_groups_are_accumulated_apart():
    x, w = random_codes(3, 24), random_codes(5, 24)
    apart = torch.stack([accumulate(x[:, k : k + 8], w[:, k : k + 8], 1)[0] for k in (0, 8, 16)])
    assert torch.equal(accumulate(x, w, 3), apart)


def test_tokens_are_rounded_by_at_most_half_a_step():
    x = torch.randn(20, 50)
    _, scale = quantize_tokens(x)
    assert ((fake_quantize_tokens(x) - x).abs() <= scale * 0.5001).all()


def test_a_token_does_not_see_its_neighbours():
    x = torch.randn(4, 30)
    louder = torch.cat([x[:3], x[3:] * 1000])
    assert torch.equal(quantize_tokens(louder)[0][:3], quantize_tokens(x)[0][:3])
    assert torch.equal(quantize_tokens(x[1:2])[0], quantize_tokens(x)[0][1:2])


def test_a_token_of_zeros_or_of_the_smallest_floats_is_zero():
    for value in (0.0, 1e-45):
        codes, _ = quantize_tokens(torch.full((1, 4), value))
        assert not codes.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_token_reaches_the_output(value):
    x = torch.tensor([[1.0, value], [1.0, 2.0]])
    codes, scale = quantize_tokens(x)
    y = rescale(accumulate(codes, torch.ones(1, 2, dtype=torch.int8), 1), torch.ones(1, 1), scale)
    assert not torch.isfinite(y[0]).any() and torch.isfinite(y[1]).all()
