"""The checkpoints that ship with the package."""

from __future__ import annotations

import pytest

from bench.pocket import ROUNDS
from policies.pocket.checkpoint import NETWORKS, weights_folder
from policies.registry import POLICIES, policy_class

SHIPPED = [head for head in NETWORKS if weights_folder(head).is_dir()]
ALL_BYTES = 60_000_000
"""What all weights together may take in the repository."""


def test_the_default_policy_is_shipped_and_all_weights_together_are_small():
    assert "oft" in SHIPPED
    assert sum((weights_folder(head) / "model.safetensors").stat().st_size for head in SHIPPED) <= ALL_BYTES


@pytest.mark.parametrize("head", SHIPPED)
def test_a_shipped_checkpoint_brings_its_calibration_and_its_card(head):
    observations, episodes = policy_class(POLICIES[f"pocket-{head}"])().calibration_observations()
    assert len(observations) == len(episodes) >= 32
    assert len({o.instruction for o in observations}) == 40
    by_expert = {f"round{number}" for number, plan in enumerate(ROUNDS) if plan.expert}
    assert {name.split("/")[0] for name in episodes} <= by_expert
    assert (weights_folder(head) / "README.md").read_text().startswith(f"# Model card: pocket-{head}\n")
