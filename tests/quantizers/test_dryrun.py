import copy

import pytest
import torch

from quantizers.dryrun import prospects
from quantizers.quantize import quantize_
from quantizers.registry import parse_method

TEXTS = ("fp", "rtn:w2a8", "rtn:w4,roles=language", "gptq:w3", "qvla:probes=2,check_channels=0")


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_foreseen_is_what_happens(text, policy, layout, calibration):
    policy.blocks[1].o.weight = policy.blocks[0].o.weight
    before = copy.deepcopy(policy.state_dict())
    found = prospects(policy, layout, parse_method(text))
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())
    audit = quantize_(policy, layout, parse_method(text), calibration)
    for prospect, layer in zip(found, audit.layers, strict=True):
        assert (prospect.site.name, prospect.status) == (layer.name, layer.status)
        if layer.status != "quantized":
            assert prospect.reason == layer.reason
        if prospect.bits is not None:
            assert {str(width): count for width, count in prospect.bits.items()} == layer.bits
    assert all((p.bits is None) == (text[0] == "q" and p.status == "quantized") for p in found)
