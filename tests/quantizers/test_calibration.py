import pytest
import torch

from quantizers.calibration import CalibrationSet


def test_an_empty_set_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        CalibrationSet.of([])
    with pytest.raises(ValueError, match="no tensors"):
        CalibrationSet.of([{}])


def test_batches_must_agree_on_the_number_of_samples():
    with pytest.raises(ValueError, match="number of samples"):
        CalibrationSet.of([{"a": torch.zeros(2, 3), "b": torch.zeros(3)}])


def test_the_digest_depends_on_every_byte_name_shape_and_order():
    a, b = torch.arange(6.0), torch.arange(6)
    variants = [
        [{"x": a}],
        [{"x": b}],
        [{"y": a}],
        [{"x": a.reshape(6, 1)}],
        [{"x": a.flip(0)}],
        [{"x": a}, {"x": b}],
        [{"x": b}, {"x": a}],
    ]
    assert len({CalibrationSet.of(batches).digest for batches in variants}) == len(variants)
    assert CalibrationSet.of([{"x": a}]).digest == CalibrationSet.of([{"x": a.clone()}]).digest


def test_a_digest_of_other_batches_is_an_error():
    with pytest.raises(ValueError, match="does not match"):
        CalibrationSet(({"x": torch.zeros(2)},), "0" * 64, ())


def test_bfloat16_and_strided_tensors_have_a_digest():
    x = torch.randn(4, 6).bfloat16()
    assert CalibrationSet.of([{"x": x[:, ::2]}]).digest == CalibrationSet.of([{"x": x[:, ::2].clone()}]).digest
