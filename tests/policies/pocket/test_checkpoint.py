"""Checkpoint folders and the roles of Linears, for every head."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from policies.pocket.checkpoint import NETWORKS, load_network, save_weights, weights_folder


def test_the_layout_names_every_linear_once(policy):
    named = [site.name for site in policy.layout.linears]
    assert sorted(named) == sorted(n for n, m in policy.module.named_modules() if isinstance(m, nn.Linear))


@pytest.mark.parametrize(("head", "roles"), [
    ("oft", {"action_head"}), ("token", {"lm_head"}), ("flow", {"dit", "action_head"})])
def test_roles_tell_the_parts_apart(head, roles, make):
    assert {site.role for site in make(head).layout.linears} == {"vision", "projector", "language"} | roles


def test_in_the_diffusion_transformer_only_attention_and_mlps_are_its_blocks(make):
    sites = [site for site in make("flow").layout.linears if site.name.startswith("dit.")]
    blocks = {site.name.rpartition(".")[2] for site in sites if site.role == "dit"}
    assert blocks == {"to_q", "to_k", "to_v", "to_out", "fc1", "fc2"}
    others = {site.name for site in sites if site.role == "action_head"}
    assert {"dit.time_in", "dit.state_in", "dit.action_in", "dit.action_out", "dit.blocks.0.norm1.linear"} <= others


def test_a_saved_checkpoint_loads_as_fp16_of_what_was_saved(policy, tmp_path):
    save_weights(policy.module, tmp_path)
    loaded = load_network(tmp_path, policy.head)
    assert loaded.config == policy.module.config
    for name, tensor in policy.module.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor.half().float(), rtol=0, atol=0)


def test_a_missing_checkpoint_is_named_with_the_next_step(policy, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing; `make pocket`"):
        type(policy)(tmp_path)


@pytest.mark.parametrize(("saved", "wanted"), [("oft", "token"), ("token", "flow"), ("flow", "oft")])
def test_the_checkpoint_of_another_head_is_refused(saved, wanted, make, tmp_path):
    save_weights(make(saved).module, tmp_path)
    with pytest.raises(ValueError, match=f"does not hold a network with the head '{wanted}'"):
        load_network(tmp_path, wanted)


def test_all_three_networks_take_at_most_sixty_megabytes_in_fp16():
    sizes = {head: sum(t.numel() for t in network(config()).state_dict().values())
             for head, (network, config) in NETWORKS.items()}
    assert max(sizes.values()) <= 12_000_000 and 2 * sum(sizes.values()) <= 60_000_000
    assert {weights_folder(head).name for head in sizes} == {"pocket-oft", "pocket-token", "pocket-flow"}
