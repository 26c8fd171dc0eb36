import copy
import dataclasses
import json

import pytest
import torch
from torch import nn

from quantizers import native
from quantizers.audit import QuantAudit
from quantizers.calibration import CalibrationSet
from quantizers.layout import LinearSite, ModelLayout
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import METHODS, parse_method

METHOD_TEXTS = (
    "rtn:w8a8",
    "rtn:w8a8,backend=cpu",
    "rtn:w4",
    "rtn:w2a8,clip=search",
    "rtn:w4a8,group=8",
    "rtn:w16",
    "rtn:w3a4,clip=minmax,group=4",
    "smoothquant:alpha=0.5",
    "smoothquant:w4a4,alphas=0.5/0.8,group=auto,clip=minmax",
    "awq:ratios=3",
    "awq:w3a8,group=8,ratios=2,clip=absmax",
    "gptq",
    "gptq:w2a4,group=8,act_order=false,clip=search",
    "omniquant:epochs=1",
    "omniquant:w3,group=8,epochs=1",
    "quantvla:temperature=false,balance=false,activation_scales=tensor",
    "omega-qvla:head_scales=token,group=8,block=4",
    "qvla:probes=2,check_channels=3",
    "qvla:budget=bytes,rule=hull,probes=2,check_channels=0,roles=vision/language/projector/action_head",
    "qvla:sensitivity=gram,rule=released,clip=absmax,a16,check_channels=0",
    "qvla:target_bits=2,probes=2,recheck=3,check_channels=0",
    "qvla:target_bits=3,probes=2,rounding=gptq,check_channels=0",
)


def real_bytes(module: nn.Module) -> int:
    storages = {}
    for part in module.modules():
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def test_full_precision_keeps_everything(policy, layout, calibration):
    before = copy.deepcopy(policy.state_dict())
    audit = quantize_(policy, layout, parse_method("fp"))
    assert {layer.status for layer in audit.layers} == {"kept"} and len(audit.layers) == len(layout.linears)
    assert audit.storage_bytes == audit.storage_bytes_full and audit.held_bytes == audit.held_bytes_full
    assert (audit.method, audit.backend, audit.integer_arithmetic) == ("fp", "none", False)
    assert audit.mean_bits == 16 and audit.mean_bits_per_weight == 16 and audit.component_bytes == 0
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


@pytest.mark.parametrize("text", METHOD_TEXTS)
def test_the_audit_states_the_bytes_that_are_there(text, policy, layout, calibration):
    full = real_bytes(policy)
    audit = quantize_(policy, layout, parse_method(text), calibration)
    assert audit.held_bytes_full == full and audit.held_bytes == real_bytes(policy)
    changed = [layer for layer in audit.layers if layer.status == "quantized"]
    parts = [policy.get_submodule(layer.name) for layer in changed]
    assert all(isinstance(part, QuantLinear) for part in parts)
    assert [layer.bytes_after for layer in changed] == [part.stored_bytes() for part in parts]
    assert [layer.metadata_bytes for layer in changed] == [part.metadata_bytes() for part in parts]
    assert audit.component_bytes == sum(part.stored_bytes() for part in parts)
    assert audit.storage_bytes_full - audit.storage_bytes == audit.component_bytes_full - audit.component_bytes
    assert audit.component_bytes_full == sum(layer.bytes_before for layer in changed)


@pytest.mark.parametrize("text", METHOD_TEXTS)
def test_every_linear_is_in_the_audit_with_its_channels(text, policy, layout, calibration):
    rows = {site.name: policy.get_submodule(site.name).out_features for site in layout.linears}
    audit = quantize_(policy, layout, parse_method(text), calibration)
    assert [(layer.name, layer.role) for layer in audit.layers] == [(site.name, site.role) for site in layout.linears]
    assert all(sum(layer.bits.values()) == rows[layer.name] for layer in audit.layers)
    assert all((layer.status == "quantized") or layer.reason for layer in audit.layers)


@pytest.mark.parametrize("text", METHOD_TEXTS)
def test_no_full_precision_copy_of_a_quantized_weight_remains(text, policy, layout, calibration):
    originals = {site.name: policy.get_submodule(site.name).weight for site in layout.linears}
    audit = quantize_(policy, layout, parse_method(text), calibration)
    kept = {id(parameter) for parameter in policy.parameters()}
    for layer in audit.layers:
        assert (id(originals[layer.name]) in kept) == (layer.status == "kept")


@pytest.mark.parametrize("text", METHOD_TEXTS)
def test_the_same_config_gives_the_same_buffers(text, policy, layout, calibration):
    twin = copy.deepcopy(policy)
    audits = [quantize_(module, layout, parse_method(text), calibration) for module in (policy, twin)]
    assert audits[0] == audits[1]
    first, second = policy.state_dict(), twin.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("text", METHOD_TEXTS)
def test_the_audit_survives_json(text, policy, layout, calibration):
    audit = quantize_(policy, layout, parse_method(text), calibration)
    assert QuantAudit.from_json(json.loads(json.dumps(audit.to_json()))) == audit


@pytest.mark.parametrize("text", METHOD_TEXTS)
def test_layers_out_of_scope_are_untouched_and_the_policy_still_runs(text, policy, layout, calibration):
    before = copy.deepcopy(policy.state_dict())
    actions = layout.forward(policy, calibration.batches[0])
    audit = quantize_(policy, layout, parse_method(text), calibration)
    for layer in audit.layers:
        if layer.status == "kept":
            assert torch.equal(policy.get_submodule(layer.name).weight, before[layer.name + ".weight"])
    assert torch.equal(policy.patch.weight, before["patch.weight"])
    assert layout.forward(policy, calibration.batches[0]).shape == actions.shape


def test_eight_bits_hardly_move_the_actions(policy, layout, calibration):
    actions = layout.forward(policy, calibration.batches[0])
    quantize_(policy, layout, parse_method("rtn:w8a8"))
    moved = layout.forward(policy, calibration.batches[0])
    assert (moved - actions).norm() < 0.02 * actions.norm()


def test_the_backend_is_what_auto_means_here(policy, layout, monkeypatch):
    for text, backend in (("rtn:w8a8", "cpu"), ("rtn:w8", "reference"), ("rtn:w8a8,backend=reference", "reference")):
        monkeypatch.setattr(native, "why_unavailable", lambda: "there is no compiler")
        audit = quantize_(copy.deepcopy(policy), layout, parse_method(text))
        assert audit.backend == backend and audit.integer_arithmetic == (backend == "cpu")
        if backend == "cpu":
            assert audit.diagnostics["backend_reason"] == "there is no compiler"
    with pytest.raises(ValueError, match="backend 'mixed' cannot be used here: there is no compiler"):
        quantize_(policy, layout, parse_method("rtn:w8a8,backend=mixed"))


@pytest.mark.parametrize(("budget", "target"), [("mean_bits", 3.0), ("mean_bits", 6.5), ("bytes", 5.0), ("bytes", 9.0)])
@pytest.mark.parametrize("rule", ["hull", "incremental", "released"])
def test_qvla_meets_its_budget(budget, target, rule, policy, layout, calibration):
    text = f"qvla:target_bits={target},budget={budget},rule={rule},probes=2,check_channels=0"
    audit = quantize_(policy, layout, parse_method(text), calibration)
    reached = audit.mean_bits if budget == "mean_bits" else audit.mean_bits_per_weight
    assert target - 1 < reached <= target


def test_qvla_counts_bytes_of_rows_too_short_for_their_widths_to_differ():
    module = nn.Sequential(nn.Linear(2, 6), nn.Linear(6, 4)).eval()
    sites = (LinearSite("0", "language"), LinearSite("1", "language"))
    layout = ModelLayout(sites, lambda module, batch: module(batch["x"]).unsqueeze(1))
    config = parse_method("qvla:budget=bytes,rule=hull,target_bits=30,check_channels=0")
    audit = quantize_(module, layout, config, CalibrationSet.of([{"x": torch.randn(8, 2)}]))
    assert audit.mean_bits_per_weight <= 30


def test_qvla_prunes_what_no_action_depends_on_and_says_so(policy, layout, calibration):
    audit = quantize_(policy, layout, parse_method("qvla:target_bits=8,probes=2"), calibration)
    layer = next(layer for layer in audit.layers if layer.name == "unused")
    assert layer.bits == {"0": 5} and "no action depends" in layer.reason
    assert audit.diagnostics["dead_layers"] == ["unused"] and audit.diagnostics["dead_channels"] >= 5
    assert set(audit.diagnostics["spearman"]) == {"0", "2", "4", "8"}


def test_qvla_moves_the_actions_less_than_rtn_at_the_same_mean_width(policy, layout, calibration):
    actions = layout.forward(policy, calibration.batches[0])
    distances = []
    for text in ("rtn:w4,clip=search", "qvla:target_bits=4,a16,rule=hull,probes=6"):
        twin = copy.deepcopy(policy)
        audit = quantize_(twin, layout, parse_method(text), calibration)
        assert audit.mean_bits <= 4
        distances.append((layout.forward(twin, calibration.batches[0]) - actions).norm().item())
    assert distances[1] < distances[0]


def test_a_budget_below_the_smallest_widths_leaves_the_module_untouched(policy, layout, calibration):
    with pytest.raises(ValueError, match="below"):
        quantize_(policy, layout, parse_method("qvla:bits=4/8,target_bits=3,probes=1"), calibration)
    assert not any(isinstance(part, QuantLinear) for part in policy.modules())


def test_a_group_that_does_not_divide_names_the_layer(policy, layout):
    with pytest.raises(ValueError, match="layer 'vision'.*group size 7 does not divide the 24 inputs"):
        quantize_(policy, layout, parse_method("rtn:w4,group=7"))
    assert not any(isinstance(part, QuantLinear) for part in policy.modules())


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.needs_calibration])
def test_a_method_that_needs_calibration_says_so(name, policy, layout):
    with pytest.raises(ValueError, match="needs a calibration set"):
        quantize_(policy, layout, parse_method(name))


def test_only_methods_that_use_calibration_record_its_digest(policy, layout, calibration):
    assert quantize_(copy.deepcopy(policy), layout, parse_method("rtn"), calibration).calibration_digest is None
    audit = quantize_(policy, layout, parse_method("qvla:probes=1"), calibration)
    assert audit.calibration_digest == calibration.digest


def test_a_linear_that_the_layout_does_not_name_is_an_error(policy, layout):
    with pytest.raises(ValueError, match="does not name 'vision'"):
        quantize_(policy, dataclasses.replace(layout, linears=layout.linears[1:]), parse_method("rtn"))


def test_a_name_without_a_linear_is_an_error(policy, layout):
    for name in ("nowhere", "patch"):
        sites = (*layout.linears, LinearSite(name, "language"))
        with pytest.raises(ValueError, match=f"no such Linear, {name!r}"):
            quantize_(policy, dataclasses.replace(layout, linears=sites), parse_method("rtn"))


def test_a_name_given_twice_is_an_error(policy, layout):
    with pytest.raises(ValueError, match="repeats 'vision'"):
        twice = dataclasses.replace(layout, linears=(*layout.linears, layout.linears[0]))
        quantize_(policy, twice, parse_method("rtn"))


def test_an_empty_scope_is_an_error(policy, layout):
    with pytest.raises(ValueError, match="nothing to quantize"):
        quantize_(policy, layout, parse_method("rtn:roles=lm_head"))


def test_a_weight_that_is_not_finite_is_an_error_that_names_the_layer(policy, layout):
    with torch.no_grad():
        policy.blocks[1].up.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="blocks.1.up"):
        quantize_(policy, layout, parse_method("rtn"))


def test_a_config_without_a_method_is_an_error(policy, layout):
    with pytest.raises(TypeError, match="known types are AWQ, GPTQ, Identity, OmegaQVLA, OmniQuant, QVLA, QuantVLA"):
        quantize_(policy, layout, "rtn")


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.words = nn.Embedding(8, 8)
        self.out = nn.Linear(8, 8, bias=False)
        self.out.weight = self.words.weight
        self.plain = nn.Linear(8, 8)


def test_linears_that_cannot_be_replaced_are_unsupported_with_a_reason():
    module = Shared()
    names = ("attention.out_proj", "out", "plain")
    layout = ModelLayout(tuple(LinearSite(name, "language") for name in names), lambda module, batch: batch)
    audit = quantize_(module, layout, parse_method("rtn:w8a8"))
    status = {layer.name: (layer.status, layer.reason) for layer in audit.layers}
    assert status["attention.out_proj"][0] == "unsupported" and "NonDynamically" in status["attention.out_proj"][1]
    assert status["out"] == ("unsupported", "its weight is shared with another module")
    assert status["plain"] == ("quantized", None)
    # The shared table counts once: 192 + 24 (in_proj), 64 + 8 (out_proj), 64 (words), 64 + 8 (plain).
    assert audit.storage_bytes_full == 2 * (192 + 24 + 64 + 8 + 64 + 64 + 8)


def test_a_layer_that_packing_would_make_larger_is_kept_with_both_sizes():
    network = nn.Sequential(nn.Linear(1, 64), nn.Linear(64, 64))
    before = network[0].weight.clone()
    sites = (LinearSite("0", "language"), LinearSite("1", "language"))
    layout = ModelLayout(sites, lambda module, batch: module(batch["x"]))
    audit = quantize_(network, layout, parse_method("rtn"))
    small, large = audit.layers
    assert (small.status, large.status) == ("kept", "quantized")
    assert small.reason == "packed it would take 320 bytes, as float16 it takes 256" and small.bits == {"16": 64}
    assert type(network[0]) is nn.Linear and torch.equal(network[0].weight, before)


def test_a_network_of_which_nothing_is_worth_packing_multiplies_no_integers():
    network = nn.Sequential(nn.Linear(1, 64))
    layout = ModelLayout((LinearSite("0", "language"),), lambda module, batch: module(batch["x"]))
    audit = quantize_(network, layout, parse_method("rtn"))
    assert audit.backend == "none" and not audit.integer_arithmetic and audit.mean_bits == 16
