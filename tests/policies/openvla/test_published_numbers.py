"""The networks compute what the published code computes; recorded.json says how its numbers were made."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from policies.openvla.checkpoint import unread_names
from policies.openvla.latent import LATENTS
from policies.openvla.llama import text_arguments
from policies.openvla.network import NetworkConfig
from policies.openvla.token import TokenNet
from policies.openvla.tower import TOWERS
from policies.openvla.univla import Ensemble
from tests.policies.openvla import tiny
from tests.policies.openvla.conftest import POLICIES, made

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    parent = tmp_path_factory.mktemp("full")
    return {kind: made(kind, tiny.write_checkpoint(parent / kind, kind)) for kind in POLICIES}


@pytest.fixture(scope="module")
def pixels():
    drawn = np.random.RandomState(7).standard_normal((2, 6, 224, 224))
    return torch.from_numpy(drawn.astype(np.float32))


def sample(tensor: torch.Tensor) -> np.ndarray:
    flat = tensor.detach().double().flatten()
    return flat[::max(1, len(flat) // 24)][:24].numpy()


def close(found, wanted) -> bool:
    return float(np.abs(np.asarray(found, float) - np.asarray(wanted, float)).max()) < TOLERANCE


@torch.no_grad()
def test_both_towers_see_what_timm_s_see(policies, pixels, recorded):
    towers = policies["openvla"].module.vision_backbone
    assert close(sample(towers.featurizer(pixels[:1, :3])), recorded["openvla"]["towers"]["dino"])
    assert close(sample(towers.fused_featurizer(pixels[:1, 3:])), recorded["openvla"]["towers"]["siglip"])


@torch.no_grad()
def test_openvla_speaks_the_same_tokens_from_the_same_logits(policies, pixels, recorded):
    module, heard = policies["openvla"].module, []
    handle = module.language_model.lm_head.register_forward_hook(lambda _m, _i, logits: heard.append(logits[0, -1]))
    spoken = module.generate(pixels[:1, None], torch.tensor([recorded["ids"]]))
    handle.remove()
    assert spoken[0].tolist() == recorded["openvla"]["ids"]
    assert all(close(sample(logits), wanted)
               for logits, wanted in zip(heard, recorded["openvla"]["logits"], strict=True))
    actions = policies["openvla"].recipe.actions
    assert close(actions.unnormalized(module.values(spoken).double().numpy())[0, 0], recorded["openvla"]["action"])
    fixed = torch.tensor([recorded["openvla"]["fixed_ids"]])
    assert close(actions.unnormalized(module.values(fixed).double().numpy())[0, 0], recorded["openvla"]["fixed_action"])


@torch.no_grad()
def test_openvla_oft_gives_the_same_chunk(policies, pixels, recorded):
    state = torch.tensor([recorded["oft"]["state"]])
    found = policies["openvla-oft"].module(pixels=pixels[None], state=state, tokens=torch.tensor([recorded["ids"]]))[0]
    assert close(found, recorded["oft"]["normalized"])
    recipe = policies["openvla-oft"].recipe
    assert close(recipe.actions.unnormalized(found.double().numpy(), policies["openvla-oft"].epsilon),
                 recorded["oft"]["actions"])


@torch.no_grad()
def test_univla_speaks_the_same_latent_actions_and_gives_the_same_window(policies, pixels, recorded):
    module, ids = policies["univla"].module, torch.tensor([recorded["ids"]])
    spoken, window = module.generate(pixels[:1, None], ids, torch.zeros(1, LATENTS))
    assert spoken[0].tolist() == recorded["univla"]["ids"] and close(window[0], recorded["univla"]["window"])
    assert close(module(pixels=pixels[:1, None], tokens=ids, spoken=spoken)[0], recorded["univla"]["window"])


def test_univla_s_windows_add_up_to_the_same_actions(policies, recorded):
    windows = np.random.RandomState(11).uniform(-1, 1, (15, tiny.WINDOW, 7))
    ensemble, bounds = Ensemble(tiny.WINDOW), policies["univla"].recipe.actions
    found = [bounds.unnormalized(ensemble.action(window)) for window in windows]
    assert close([found[index] for index in (0, 1, 5, 14)], recorded["univla"]["ensemble"])


def test_at_true_size_the_names_and_shapes_are_those_of_the_published_network(recorded):
    text = text_arguments({"model_type": "llama", "vocab_size": 32064, "pad_token_id": 32000})
    config = NetworkConfig(tuple(TOWERS.values()), text, bins=256, padding=64)
    with torch.device("meta"):
        module = TokenNet(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    shapes |= unread_names(config, words_unread=False)
    lines = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
    assert len(shapes) == recorded["names"]["count"] == 982
    assert hashlib.sha256(lines.encode()).hexdigest() == recorded["names"]["sha256"]
