import json

import pytest
import torch

from quantizers import saved
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from quantizers.saved import CONFIG, Origin
from quantizers.storage import load_quantized_, save_quantized
from quantizers.stored import fits_half, restored, stored, stored_bytes

WIDTHS = (0, 2, 3, 4, 8, 16)


def layer(widths: tuple[int, ...] = WIDTHS, spread: float = 1.0) -> QuantLinear:
    bits = torch.tensor(widths)[torch.randint(len(widths), (40,))]
    return QuantLinear(torch.randn(40, 24) * spread, torch.randn(40), bits)


@pytest.mark.parametrize("widths", [(8,), (4, 8), WIDTHS])
def test_buffers_come_back_in_every_bit(widths):
    made = layer(widths)
    found = stored(made._buffers, made.channel_bits())
    back = restored(found)
    assert back.keys() == made.state_dict().keys() and "positions" not in found
    for name, buffer in made.state_dict().items():
        assert back[name].dtype == buffer.dtype and torch.equal(back[name], buffer)


def test_scales_take_two_bytes_and_widths_one():
    made = layer()
    coded = int((made.channel_bits() % 16 > 0).sum())
    assert made.metadata_bytes() == 2 * coded + 40
    found = stored(made._buffers, made.channel_bits())
    assert sum(tensor.nbytes for tensor in found.values()) == stored_bytes(made._buffers) + 2 * 40
    assert found["scale"].dtype == torch.float16 and torch.equal(found["widths"].long(), made.channel_bits())


def test_a_scale_that_float16_cannot_hold_is_stored_as_it_is():
    made = layer((8,), spread=1e-7)
    assert not fits_half(made.scale) and stored(made._buffers, made.channel_bits())["scale"].dtype == torch.float32
    assert made.metadata_bytes() == 4 * 40


def test_tables_of_positions_and_wide_scales_are_read_too():
    made = layer()
    back = restored(made.state_dict())
    assert all(back[name] is buffer or torch.equal(back[name], buffer) for name, buffer in made.state_dict().items())


@pytest.mark.parametrize("widths", [torch.tensor([5, 8], dtype=torch.uint8), torch.tensor([4, 8])])
def test_widths_that_no_row_has_are_an_error(widths):
    with pytest.raises(ValueError, match="must be one torch.uint8 for each output"):
        restored({"widths": widths})


def test_a_folder_of_the_first_format_is_read(policy, layout, tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "FORMAT", 1)
    monkeypatch.setattr("quantizers.storage.stored", lambda own, _: {key: x for key, x in own.items() if x is not None})
    audit = quantize_(policy, layout, parse_method("rtn:w8a8"))
    save_quantized(policy, tmp_path / "x", audit, Origin("small", "rtn:w8a8", None, {}))
    monkeypatch.undo()
    assert json.loads((tmp_path / "x" / CONFIG).read_text())["format"] == 1
    other = type(policy)().eval()
    load_quantized_(other, tmp_path / "x")
    for name, buffer in policy.vision.state_dict().items():
        assert torch.equal(other.vision.state_dict()[name], buffer)
