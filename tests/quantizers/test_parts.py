import copy

import pytest
import torch

from quantizers import parts
from quantizers.candidates import nearest
from quantizers.parts import cut, in_parts
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from quantizers.sensitivity import action_sensitivity
from tests.quantizers import denoising

BITS = (0, 2, 4, 8, 16)


def in_small_parts(monkeypatch) -> None:
    """Have a small network cut as a large one is."""
    for name in ("WHOLE_BYTES", "LEAST_BYTES"):
        monkeypatch.setattr(parts, name, 0)


def test_small_networks_are_one_part_and_others_are_cut_in_forward_order(policy, layout, calibration, monkeypatch):
    names = [site.name for site in layout.linears]
    linears = {name: policy.get_submodule(name) for name in names}
    assert in_parts(policy, layout, linears, calibration, 3).units == ((tuple(names),),)
    in_small_parts(monkeypatch)
    found = in_parts(policy, layout, linears, calibration, 3)
    assert found.several() and [name for part in found.all() for name in part] == names
    network, layout, calibration = denoising.build()
    linears = {site.name: network.get_submodule(site.name) for site in layout.linears}
    loop = in_parts(network, layout, linears, calibration, 3).units
    assert loop[0] == (("language",),) and len(loop) == 2 and len(loop[1]) > 1


def test_a_cut_keeps_the_limit_unless_one_name_is_beyond_it():
    assert cut("abcd", {"a": 1, "b": 2, "c": 9, "d": 3}, 3) == [("a", "b"), ("c",), ("d",)]


def test_blocks_that_are_computed_again_give_the_same_sensitivities(policy, layout, calibration):
    for names in (["vision", "blocks.0.q"], ["blocks.1.down"]):
        linears = {name: policy.get_submodule(name) for name in names}
        arguments = (policy, layout, linears, calibration, nearest(linears, BITS, "absmax"), 100, 0)
        full, lean = action_sensitivity(*arguments), action_sensitivity(*arguments, lean=True)
        for name in names:
            torch.testing.assert_close(lean[name], full[name], rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("kind", ["policy", "denoiser"])
def test_a_network_in_parts_becomes_what_it_becomes_at_once(kind, policy, layout, calibration, monkeypatch):
    if kind == "denoiser":
        policy, layout, calibration = denoising.build(8)
    method = parse_method("qvla:probes=100,check_channels=3,recheck=2,clip=absmax")
    twin = copy.deepcopy(policy)
    quantize_(policy, layout, method, calibration)
    in_small_parts(monkeypatch)
    quantize_(twin, layout, method, calibration)
    for (name, tensor), other in zip(policy.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name
