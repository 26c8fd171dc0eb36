"""Every policy whose network is at hand declares folds that preserve it, and blocks in the order of the layout."""

from pathlib import Path

import pytest
import torch

from policies.registry import POLICIES, policy_class
from quantizers.calibration import CalibrationSet
from quantizers.preserved import check_folds
from quantizers.quantize import accounted

ROOT = Path(__file__).parents[2]
QUANTIZABLE = [
    name for name, entry in POLICIES.items()
    if entry.quantizable and entry.takes is None and (entry.weights is None or (ROOT / entry.weights).is_dir())
]
"""Networks without weights here are checked with arbitrary ones in tests/policies/pocket/test_folds.py."""


@pytest.mark.parametrize("name", QUANTIZABLE)
def test_declared_folds_preserve_the_actions(name):
    torch.set_num_threads(1)
    policy = policy_class(POLICIES[name])()
    observations, episodes = policy.calibration_observations()
    assert policy.layout.folds
    accounted(policy.module, policy.layout)
    check_folds(policy.module, policy.layout, CalibrationSet.of([policy.batch(observations[:1])], episodes[:1]))


@pytest.mark.parametrize("name", QUANTIZABLE)
def test_the_registry_says_whether_a_policy_denoises(name):
    assert POLICIES[name].denoises == (policy_class(POLICIES[name])().layout.denoiser is not None)


@pytest.mark.parametrize("name", QUANTIZABLE)
def test_blocks_are_called_in_the_order_of_the_layout(name):
    torch.set_num_threads(1)
    policy = policy_class(POLICIES[name])()
    observations, _ = policy.calibration_observations()
    called = []
    for site in policy.layout.linears:
        layer = policy.module.get_submodule(site.name)
        layer.register_forward_pre_hook(lambda _layer, _args, site=site: called.append(site.name))
    with torch.no_grad():
        policy.layout.forward(policy.module, policy.batch(observations[:1]))
    first = list(dict.fromkeys(called))
    blocks = [next((b for b in policy.layout.blocks if call.startswith(b + ".")), None) for call in first]
    order = [block for block in dict.fromkeys(blocks) if block]
    assert order == [block for block in policy.layout.blocks if block in order]
