"""Every policy with a network declares folds that preserve it, and every method runs on it."""

import pytest
import torch

from policies.registry import POLICIES, policy_class
from quantizers.calibration import CalibrationSet
from quantizers.preserved import check_folds
from quantizers.quantize import accounted

QUANTIZABLE = [name for name, entry in POLICIES.items() if entry.quantizable]


@pytest.mark.parametrize("name", QUANTIZABLE)
def test_declared_folds_preserve_the_actions(name):
    torch.set_num_threads(1)
    policy = policy_class(POLICIES[name])()
    observations, episodes = policy.calibration_observations()
    assert policy.layout.folds
    accounted(policy.module, policy.layout)
    check_folds(policy.module, policy.layout, CalibrationSet.of([policy.batch(observations[:1])], episodes[:1]))


@pytest.mark.parametrize("name", QUANTIZABLE)
def test_forward_order_is_that_of_the_layout(name):
    """Methods that work block by block quantize in the order of the layout."""
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
