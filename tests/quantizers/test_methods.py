"""What holds for every method: widths, bad input, determinism."""

import copy

import pytest
import torch

from quantizers.calibration import CalibrationSet
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from quantizers.saved import AUDIT, CONFIG, MODEL, Origin
from quantizers.storage import save_quantized

CALIBRATED = ["smoothquant:alpha=0.5", "awq:ratios=2", "gptq", "omniquant:epochs=1",
              "quantvla:temperature=false,balance=false", "omega-qvla:head_scales=token,activation_scales=tensor"]


@pytest.mark.parametrize("text", CALIBRATED)
def test_a_calibration_set_that_is_too_small_is_an_error(text, policy, layout, calibration):
    few = CalibrationSet.of([{name: tensor[:3] for name, tensor in calibration.batches[0].items()}])
    with pytest.raises(ValueError, match="at least 8 observations, and this one has 3; record more"):
        quantize_(policy, layout, parse_method(text), few)
    assert not any(isinstance(part, QuantLinear) for part in policy.modules())


@pytest.mark.parametrize("text", CALIBRATED)
def test_activations_that_are_not_finite_are_an_error_and_nothing_is_quantized(text, policy, layout, calibration):
    with torch.no_grad():
        policy.blocks[0].norm.bias[2] = float("inf")
    with pytest.raises(ValueError, match="(the input of layer 'blocks.0.q'|the actions .*) holds? NaN or infinite"):
        quantize_(policy, layout, parse_method(text), calibration)
    assert not any(isinstance(part, QuantLinear) for part in policy.modules())


def test_observations_that_are_not_finite_are_an_error(calibration):
    batch = dict(calibration.batches[0]) | {"image": torch.full((5, 3, 8, 8), float("nan"))}
    with pytest.raises(ValueError, match="'image' in batch 0 of the calibration set holds NaN"):
        CalibrationSet.of([batch])


@pytest.mark.parametrize("text", CALIBRATED[:2])
def test_a_fold_through_a_shared_weight_is_an_error(text, policy, layout, calibration):
    policy.blocks[1].v.weight = policy.blocks[0].v.weight
    with pytest.raises(ValueError, match="the layout declares .*blocks.[01].v"):
        quantize_(policy, layout, parse_method(text), calibration)


@pytest.mark.parametrize("text", [f"{text},group=7" for text in (*CALIBRATED[1:4], "smoothquant:w4a16", "gptq:w3")])
def test_every_method_names_the_layer_that_a_group_does_not_divide(text, policy, layout, calibration):
    with pytest.raises(ValueError, match="layer 'vision'.*group size 7 does not divide the 24 inputs"):
        quantize_(policy, layout, parse_method(text.replace("gptq,", "gptq:")), calibration)
    assert not any(isinstance(part, QuantLinear) for part in policy.modules())


@pytest.mark.parametrize("text", [f"{text},group=7" for text in CALIBRATED[4:]])
def test_methods_of_a_narrower_scope_name_the_first_layer_in_it(text, policy, layout, calibration):
    with pytest.raises(ValueError, match="layer 'blocks.0.q'.*group size 7 does not divide the 24 inputs"):
        quantize_(policy, layout, parse_method(text), calibration)


STATISTICS = ["smoothquant:alpha=0.5", "awq:ratios=3,clip_steps=3", "gptq", "omniquant:epochs=0",
              "qvla:check_channels=0",
              "quantvla:temperature=false,balance=false,activation_scales=tensor", "omega-qvla:head_scales=token"]
"""Without the steps of training, which go over the batches in order."""


@pytest.mark.parametrize("text", STATISTICS)
def test_every_batch_decides_what_a_method_does_and_their_order_does_not(text, policy, layout, calibration):
    first, second = calibration.batches
    louder = dict(second) | {"image": second["image"] * 3}

    def answers(*batches: dict[str, torch.Tensor]) -> torch.Tensor:
        module = copy.deepcopy(policy)
        quantize_(module, layout, parse_method(text), CalibrationSet.of(batches))
        return layout.forward(module, first)

    made = answers(first, second)
    torch.testing.assert_close(answers(second, first), made, rtol=0.02, atol=0.02 * made.abs().max().item())
    assert not torch.equal(answers(first, louder), made)


def test_four_bit_activations_say_what_multiplies_them(policy, layout):
    audit = quantize_(copy.deepcopy(policy), layout, parse_method("rtn:w4a4,backend=cpu"))
    assert audit.integer_arithmetic and "8-bit integer product" in audit.diagnostics["arithmetic"]
    audit = quantize_(copy.deepcopy(policy), layout, parse_method("rtn:w4a4,backend=reference"))
    assert not audit.integer_arithmetic and "float32" in audit.diagnostics["arithmetic"]
    assert "arithmetic" not in quantize_(policy, layout, parse_method("rtn:w4a8")).diagnostics


@pytest.mark.parametrize("method", ["rtn", "smoothquant", "awq", "gptq", "omniquant"])
@pytest.mark.parametrize("width", ["w8a16", "w4a16", "w8a8", "w4a8", "w4a4", "w2", "w3"])
def test_every_width_of_every_method_runs_and_takes_the_bytes_it_says(method, width, policy, layout, calibration):
    short = {"smoothquant": ",alpha=0.5", "awq": ",ratios=2", "omniquant": ",epochs=0"}.get(method, "")
    audit = quantize_(policy, layout, parse_method(f"{method}:{width}{short},group=none"), calibration)
    bits = int(width[1])
    assert audit.mean_bits == bits and audit.integer_arithmetic == ("a8" in width or "a4" in width)
    packed = sum((part.codes2 if bits == 2 else part.codes3 if bits == 3 else part.codes4 if bits == 4 else
                  part.codes8).nbytes for part in policy.modules() if isinstance(part, QuantLinear))
    weights = sum(layer.bytes_before for layer in audit.layers if layer.status == "quantized")
    assert packed < weights / 2 * bits / 8 * 1.01
    assert torch.isfinite(layout.forward(policy, calibration.batches[0])).all()


@pytest.mark.parametrize("text", [*CALIBRATED, "rtn:w4a8", "gptq:w3a4,group=8", "qvla:probes=2,check_channels=3"])
def test_two_runs_write_the_same_files_to_the_last_byte(text, policy, layout, calibration, tmp_path):
    for name in ("first", "second"):
        module = copy.deepcopy(policy)
        audit = quantize_(module, layout, parse_method(text), calibration)
        save_quantized(module, tmp_path / name, audit, Origin("small", text, "a" * 64, {"width": 24}))
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == sorted([AUDIT, CONFIG, MODEL])
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
