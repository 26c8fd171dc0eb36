import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from quantizers.grids import CODE_BITS, code_range
from quantizers.linear import QuantLinear
from quantizers.packing import pack, row_bytes, unpack


def random_codes(seed: int, rows: int, columns: int, bits: int) -> torch.Tensor:
    low, high = code_range(bits)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, (rows, columns), generator=generator).to(torch.int8)


@given(st.integers(0, 1000), st.integers(0, 5), st.integers(1, 67), st.sampled_from(CODE_BITS))
def test_unpacking_returns_every_code(seed, rows, columns, bits):
    codes = random_codes(seed, rows, columns, bits)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert torch.equal(unpack(packed, bits, columns), codes)


@given(st.integers(1, 67), st.sampled_from(CODE_BITS))
def test_packed_rows_have_no_gaps(columns, bits):
    packed = pack(random_codes(0, 3, columns, bits), bits)
    assert packed.shape == (3, row_bytes(columns, bits))
    # Three bits are a row of two and a row of one.
    assert row_bytes(columns, bits) * 8 - columns * bits < (16 if bits == 3 else 8)


def test_row_bytes_knows_pruned_and_float16_rows():
    assert row_bytes(5, 0) == 0 and row_bytes(5, 16) == 10


@pytest.mark.parametrize("bits", CODE_BITS)
def test_unpacking_writes_into_a_given_block(bits):
    codes = random_codes(1, 4, 13, bits)
    block = torch.zeros(6, 13, dtype=torch.int8)
    unpack(pack(codes, bits), bits, 13, out=block[1:5])
    assert torch.equal(block[1:5], codes) and not block[0].any() and not block[5].any()


def test_packing_does_not_keep_the_codes_alive():
    codes = random_codes(2, 4, 12, 8)
    packed = pack(codes[:2], 8)
    assert packed.untyped_storage().nbytes() == packed.nbytes


def test_codes_out_of_range_are_an_error():
    with pytest.raises(ValueError, match=r"-8 \.\. 7"):
        pack(torch.tensor([[8]], dtype=torch.int8), 4)


def test_a_row_of_the_wrong_length_is_an_error():
    with pytest.raises(ValueError, match="takes 3 bytes, not 2"):
        unpack(torch.zeros(1, 2, dtype=torch.uint8), 4, 6)


@pytest.mark.parametrize("widths", [[8], [4], [3], [2], [0, 2, 4, 8], [0, 2, 3, 4, 8, 16]])
def test_bytes_in_memory_and_on_disk_are_bits_and_stated_metadata_within_three_percent(widths):
    generator = torch.Generator().manual_seed(0)
    bits = torch.tensor(widths)[torch.randint(len(widths), (512,), generator=generator)]
    layer = QuantLinear(torch.randn(512, 1000, generator=generator), None, bits, activation_bits=8)
    stated = bits.sum().item() * 1000 / 8 + layer.metadata_bytes()
    on_disk = len(save(dict(layer.state_dict())))
    assert layer.metadata_bytes() == 2 * (bits % 16 > 0).sum() + (512 if len(widths) > 1 else 0)
    for found in (layer.held_bytes(), layer.stored_bytes(), on_disk):
        assert stated <= found <= 1.03 * stated
