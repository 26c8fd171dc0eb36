"""T3 of rotations: orthogonal, energies evened out, channels dealt fairly, the block path equal to the dense one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantizers.rotation import (
    block_size,
    dealt,
    hadamard,
    input_blocks,
    moved_in,
    moved_out,
    output_blocks,
    turned,
)

KINDS = ("none", "svd", "hadamard", "svd_hadamard")


def dense(blocks: torch.Tensor) -> torch.Tensor:
    return torch.block_diag(*blocks)


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_the_hadamard_matrix_is_orthogonal_symmetric_and_flat(size):
    matrix = hadamard(size)
    assert torch.allclose(matrix @ matrix.t(), torch.eye(size, dtype=torch.float64), atol=1e-12)
    assert torch.equal(matrix, matrix.t()) and torch.allclose(matrix.abs(), torch.full_like(matrix, size**-0.5))


@pytest.mark.parametrize("size", [0, 3, 48])
def test_there_is_no_hadamard_matrix_of_another_size(size):
    with pytest.raises(ValueError, match="powers of two"):
        hadamard(size)


@given(channels=st.integers(1, 5000), limit=st.integers(1, 128))
def test_blocks_are_whole_and_powers_of_two(channels, limit):
    size = block_size(channels, limit)
    assert channels % size == 0 and size <= limit and size & (size - 1) == 0
    assert channels % (2 * size) or 2 * size > limit


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_orthogonal_also_for_weights_without_full_rank(kind):
    for weight in (torch.randn(24, 32), torch.randn(3, 32), torch.zeros(5, 32)):
        blocks = input_blocks(weight, 8, kind).float()
        assert (blocks.mT @ blocks - torch.eye(8)).abs().max() < 1e-5
    rows = output_blocks(torch.randn(24, 32), 8)
    assert rows.shape == (3, 8, 8) and (rows.mT @ rows - torch.eye(8)).abs().max() < 1e-5


def test_svd_concentrates_energy_and_the_hadamard_behind_it_evens_it_out():
    weight = torch.randn(40, 32) * torch.logspace(0, 3, 32)[torch.randperm(32)]
    spread = {}
    for kind in KINDS:
        energy = turned_energy(weight, input_blocks(weight, 16, kind))
        spread[kind] = (energy.amax(1) / energy.amin(1)).max().item()
    assert abs(spread["svd_hadamard"] - 1) < 1e-4
    assert spread["svd"] > spread["none"] > spread["hadamard"] > spread["svd_hadamard"]


def turned_energy(weight: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    return turned(weight.double(), blocks).square().sum(0).unflatten(0, (len(blocks), -1))


def test_the_same_weight_gets_the_same_blocks():
    weight = torch.randn(24, 32)
    assert torch.equal(input_blocks(weight, 8, "svd_hadamard"), input_blocks(weight.clone(), 8, "svd_hadamard"))


@pytest.mark.parametrize("kind", ["snake", "zigzag"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(1, 6), size=st.sampled_from([2, 4, 8]))
def test_channels_are_dealt_by_a_bijection(kind, seed, count, size):
    weight = torch.randn(5, count * size, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(dealt(weight, size, kind).sort().values.long(), torch.arange(count * size))


def test_the_snake_evens_blocks_out_and_the_released_zigzag_does_not():
    torch.manual_seed(1)
    weight = torch.randn(64, 512) * torch.randn(512).exp().square()
    energy = weight.square().sum(0)

    def spread(order: torch.Tensor) -> float:
        blocks = energy[order.long()].unflatten(0, (8, 64)).sum(1)
        return (blocks.max() / blocks.mean()).item()

    plain = spread(torch.arange(512))
    assert spread(dealt(weight, 64, "snake")) < plain < spread(dealt(weight, 64, "zigzag"))
    assert dealt(weight, 64, "none") is None and dealt(weight, 1, "snake") is None


def test_the_zigzag_goes_from_both_ends():
    weight = torch.tensor([[3.0, 1.0, 5.0, 2.0]])
    assert dealt(weight, 2, "zigzag").tolist() == [2, 1, 0, 3]
    assert dealt(weight, 2, "snake").tolist() == [2, 1, 0, 3]
    assert dealt(torch.tensor([[1.0, 2, 3, 4, 5, 6]]), 2, "snake").tolist() == [5, 0, 4, 1, 3, 2]


def test_the_block_path_equals_the_dense_matrix():
    x, weight, bias = torch.randn(7, 32), torch.randn(24, 32), torch.randn(24)
    blocks, out = input_blocks(weight, 8, "svd_hadamard").half(), output_blocks(weight, 8).half()
    torch.testing.assert_close(turned(x, blocks), x @ dense(blocks.float()), atol=1e-5, rtol=1e-5)
    moved = moved_out(moved_in(weight, blocks), out).float()
    y = turned(turned(x, blocks) @ moved.t() + moved_out(bias, out).float(), out)
    # Rounded to float16 the blocks are orthogonal to 1e-3 only; the weight makes up for it.
    torch.testing.assert_close(y, x @ weight.t() + bias, atol=2e-5, rtol=1e-5)
