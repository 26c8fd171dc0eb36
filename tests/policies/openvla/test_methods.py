"""Every method that works on Linears applies to all three networks: calibrate, quantize, save, load, act."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from policies.openvla.structure import ROLES
from quantizers.calibration import CalibrationSet
from quantizers.preserved import check_folds
from quantizers.quantize import accounted, quantize_
from quantizers.registry import parse_method
from quantizers.saved import Origin
from quantizers.storage import load_quantized_, save_quantized
from tests.policies.openvla import tiny
from tests.policies.openvla.conftest import POLICIES, made, observations

METHODS = ("rtn:w4a8", "smoothquant:w8a8", "awq:w4", "gptq:w4", "omniquant:w4a4,epochs=1", "qvla:check_channels=2",
           "quantvla:temperature=false,balance=false", "omega-qvla:head_scales=token")
SEEN = observations(8)


@pytest.fixture(scope="module", params=POLICIES)
def prepared(request, checkpoints):
    torch.set_num_threads(1)
    policy = made(request.param, checkpoints[request.param])
    return policy, CalibrationSet.of([policy.batch(SEEN)], [f"drawn-{i}" for i in range(8)])


def test_the_layout_names_every_linear_with_its_part_and_its_folds_preserve_the_actions(prepared):
    policy, calibration = prepared
    linears = accounted(policy.module, policy.layout)
    roles = {site.name: site.role for site in policy.layout.linears}
    assert set(roles.values()) >= {"vision", "projector", "language"} and len(linears) == len(roles)
    assert all(name.startswith(tuple(prefix for prefix, _ in ROLES)) for name in linears)
    # Norms of 2 + 2 tower blocks to qkv and fc1; four places and one attention in each of 2 decoder layers.
    assert len(policy.layout.folds) == 8 + 8 and len(policy.layout.attention) == 2 and len(policy.layout.blocks) == 6
    check_folds(policy.module, policy.layout, calibration)


def test_half_precision_stays_half_and_is_answered_again_bit_for_bit(tmp_path):
    policy = made("openvla-oft", tiny.write_checkpoint(tmp_path / "half", "openvla-oft", torch.bfloat16, side=56))
    audit = quantize_(policy.module, policy.layout, parse_method("rtn:w8a8"))
    save_quantized(policy.module, tmp_path / "saved", audit, Origin(policy.name, "rtn", None, policy.network_config()))
    network = json.loads((tmp_path / "saved" / "config.json").read_text())["network"]
    loaded = type(policy).skeleton(network)
    load_quantized_(loaded.module, tmp_path / "saved")
    assert loaded.module.projector.fc1.weight.dtype == torch.bfloat16
    assert np.array_equal(policy.act(SEEN[:2]), loaded.act(SEEN[:2]))


@pytest.mark.parametrize("method", METHODS)
def test_what_was_saved_acts_as_what_was_quantized(prepared, method, tmp_path):
    policy, calibration = prepared
    quantized = copy.copy(policy)
    quantized.module = copy.deepcopy(policy.module)
    audit = quantize_(quantized.module, policy.layout, parse_method(method), calibration)
    scope = {"vision", "language"} & set(parse_method(method).roles)
    assert {layer.role for layer in audit.layers if layer.status == "quantized"} == scope
    origin = Origin(policy.name, method, None, quantized.network_config())
    save_quantized(quantized.module, tmp_path / "saved", audit, origin)
    network = json.loads((tmp_path / "saved" / "config.json").read_text())["network"]
    loaded = type(policy).skeleton(network)
    load_quantized_(loaded.module, tmp_path / "saved")
    for each in (quantized, loaded):
        each.reset((1, 2, 3, 4))
    answers = [np.concatenate([each.act(SEEN[:2]) for _ in range(2)]) for each in (quantized, loaded)]
    assert np.isfinite(answers[0]).all() and np.array_equal(*answers)
