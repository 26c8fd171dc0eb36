"""T14: every method on every head, from calibration to a loaded network that acts the same in every bit."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from policies.pocket.checkpoint import NETWORKS
from quantizers.calibration import CalibrationSet
from quantizers.dryrun import prospects
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import METHODS, parse_method
from quantizers.saved import Origin
from quantizers.storage import load_quantized_, save_quantized

WITHOUT_A_DENOISER = {"quantvla": "temperature=false,balance=false", "omega-qvla": "head_scales=token"}
"""Method -> what makes it legal for a head that does not denoise."""
SETTINGS = ("", "w4a4", "w8a8", "w4a16")
"""The published setting, and others."""
MIXED = {"": "", "w4a4": "a4", "w8a8": "a8,target_bits=8", "w4a16": "a16"}
"""The same for QVLA, whose widths of weights are a budget."""
SHORTER = {"omniquant": "epochs=1", "qvla": "probes=2,check_channels=2", "awq": "ratios=4"}
"""Less of what takes seconds, but for the published settings on the first head."""
QUANTIZED = [name for name in METHODS if name != "fp"]
CASES = [(head, name, setting) for head in NETWORKS for name in QUANTIZED for setting in SETTINGS]


def text_of(head: str, name: str, setting: str) -> str:
    options = [MIXED[setting] if name == "qvla" else setting]
    if (head, setting) != ("oft", "") and name in SHORTER:
        options.append(SHORTER[name])
    if head != "flow" and name in WITHOUT_A_DENOISER:
        options.append(WITHOUT_A_DENOISER[name])
    return f"{name}:{','.join(filter(None, options))}"


@pytest.fixture
def calibrated(make, observe):
    torch.set_num_threads(1)

    @functools.cache
    def of(head: str) -> CalibrationSet:
        policy = make(head)
        seen = [observe(seed) for seed in range(8)]
        return CalibrationSet.of([policy.batch(seen[:4]), policy.batch(seen[4:])], map(str, range(8)))

    return of


@pytest.mark.parametrize(("head", "name", "setting"), CASES)
def test_a_quantized_policy_that_was_saved_acts_as_before(head, name, setting, make, observe, calibrated, tmp_path):
    policy, text = make(head), text_of(head, name, setting)
    foreseen = {found.site.name: found.status for found in prospects(policy.module, policy.layout, parse_method(text))}
    audit = quantize_(policy.module, policy.layout, parse_method(text), calibrated(head))
    assert {layer.name: layer.status for layer in audit.layers} == foreseen
    assert sum(isinstance(part, QuantLinear) for part in policy.module.modules()) == audit_count(audit)
    save_quantized(policy.module, tmp_path / "x", audit, Origin(policy.name, text, None, policy.network_config()))
    loaded = type(policy).skeleton(policy.network_config())
    assert load_quantized_(loaded.module, tmp_path / "x") == audit
    for actor in (policy, loaded):
        actor.reset((1,))
    seen = [observe(20), observe(21)]
    np.testing.assert_array_equal(policy.act(seen), loaded.act(seen))
    batch = calibrated(head).batches[0]
    full, moved = (actor.layout.forward(actor.module, batch) for actor in (make(head), policy))
    # Coarse grids may go far, but a broken scale would go further.
    assert (full - moved).norm() < 0.3 * full.norm()


def audit_count(audit) -> int:
    return sum(layer.status == "quantized" for layer in audit.layers)


@pytest.mark.parametrize("head", ["oft", "token"])
@pytest.mark.parametrize("name", WITHOUT_A_DENOISER)
def test_a_method_for_diffusion_heads_names_what_other_heads_can_have(head, name, make, calibrated):
    policy = make(head)
    before = {key: tensor.clone() for key, tensor in policy.module.state_dict().items()}
    with pytest.raises(ValueError, match=f"does not denoise: .*{WITHOUT_A_DENOISER[name]}"):
        quantize_(policy.module, policy.layout, parse_method(name), calibrated(head))
    assert all(torch.equal(tensor, before[key]) for key, tensor in policy.module.state_dict().items())


def test_quantvla_keeps_the_attention_of_the_diffusion_head(make):
    policy = make("flow")
    wanted = prospects(policy.module, policy.layout, parse_method("quantvla"))
    found = {prospect.site.name: prospect for prospect in wanted}
    kept = [name for name, prospect in found.items() if prospect.site.role == "dit" and prospect.status == "kept"]
    assert kept == [f"dit.blocks.{i}.attention.{part}" for i in (0, 1) for part in ("to_q", "to_k", "to_v", "to_out")]
    assert "selective layout" in found[kept[0]].reason and found["dit.blocks.0.mlp.fc1"].status == "quantized"


def test_steps_of_the_head_have_their_own_scales_and_corrections_are_in_the_audit(make, calibrated):
    policy = make("flow")
    audit = quantize_(policy.module, policy.layout, parse_method("omega-qvla"), calibrated("flow"))
    table = policy.module.dit.blocks[0].mlp.fc1.static_scale
    assert table.shape == (8, 1) and len(table.unique()) == 8
    assert audit.diagnostics["rotations_move_actions_by"] < 1e-5
    folded = audit.diagnostics["rotations_folded_into_neighbours"]
    assert "language.layers.0.self_attn.o_proj" in folded and "dit.blocks.1.attention.to_k" in folded
    online = audit.diagnostics["rotation_multiply_adds_per_token"]
    assert online["dit.blocks.0.mlp.fc1"] == 32 * 32 + 48 * 16
    layer = next(layer for layer in audit.layers if layer.name == "dit.blocks.0.mlp.fc1")
    assert layer.reason == "input rotated at run time; output rotated at run time"
    assert layer.metadata_bytes >= 2 * online["dit.blocks.0.mlp.fc1"]
    other = make("flow")
    audit = quantize_(other.module, other.layout, parse_method("quantvla"), calibrated("flow"))
    assert set(audit.diagnostics["temperatures"]) == {"dit.blocks.0.attention", "dit.blocks.1.attention"}
    assert set(audit.diagnostics["squared_deviation"]) == {"before", "temperatures", "balances"}
