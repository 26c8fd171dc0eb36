"""The folds of each pocket network hold on networks with arbitrary weights."""

from __future__ import annotations

import pytest
import torch

from policies.pocket.checkpoint import NETWORKS
from policies.pocket.model import ACTION_DIM, CHUNK
from policies.pocket.words import encode
from policies.registry import POLICIES, policy_class
from quantizers.calibration import CalibrationSet
from quantizers.preserved import check_folds

SIZES = {"image_size": 32, "vision_width": 64, "vision_layers": 1, "width": 64, "layers": 1, "heads": 2, "mlp": 96}
FLOW = {"dit_width": 32, "dit_layers": 2, "dit_heads": 2, "dit_mlp": 64}


def small(head: str) -> tuple:
    """A policy of this head with random weights and norms, and eight samples."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    kind = policy_class(POLICIES[f"pocket-{head}"])
    policy = kind.skeleton(SIZES | (FLOW if head == "flow" else {}) | {"attention": "eager"})
    with torch.no_grad():
        for name, parameter in policy.module.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    words, mask = encode(["pick up the milk", "pick up the butter and place it in the basket"] * 4)
    batch = {"images": torch.randint(0, 256, (8, 2, 32, 32, 3), dtype=torch.uint8), "state": torch.randn(8, 8),
             "words": words, "mask": mask}
    batch |= {"token": {"bins": torch.randint(0, 256, (8, CHUNK * ACTION_DIM))},
              "flow": {"noise": torch.randn(8, CHUNK, ACTION_DIM)}}.get(head, {})
    return policy, CalibrationSet.of([batch])


@pytest.mark.parametrize("head", NETWORKS)
def test_folds_preserve_the_actions(head):
    policy, calibration = small(head)
    assert (policy.layout.denoiser is not None) == POLICIES[f"pocket-{head}"].denoises
    assert len(policy.layout.folds) == 7 + (6 if head == "flow" else 0)
    check_folds(policy.module, policy.layout, calibration)
