"""The network of the pocket policies."""

from __future__ import annotations

import pytest
import torch

from policies.pocket.model import CHUNK, PocketConfig, PocketOFTNet
from policies.pocket.words import MAX_WORDS, VOCABULARY, encode

SENTENCE = "pick up the milk and place it in the basket"


@pytest.fixture(scope="module")
def network() -> PocketOFTNet:
    """The network with random weights."""
    torch.manual_seed(0)
    return PocketOFTNet(PocketConfig()).eval()


def inputs(sentences: list[str]) -> dict[str, torch.Tensor]:
    """A batch with another picture for each sentence."""
    generator = torch.Generator().manual_seed(1)
    words, mask = encode(sentences)
    images = torch.randint(0, 256, (len(sentences), 2, 128, 128, 3), dtype=torch.uint8, generator=generator)
    state = torch.randn(len(sentences), 8, generator=generator)
    return {"images": images, "state": state, "words": words, "mask": mask}


def test_it_has_at_most_twelve_million_parameters_and_a_decoder_at_least_384_wide(network):
    assert sum(p.numel() for p in network.parameters()) <= 12_000_000
    assert network.config.width >= 384


def test_a_chunk_of_eight_actions_comes_out_at_once(network):
    assert network(**inputs([SENTENCE] * 3)).shape == (3, CHUNK, 7)


def test_instruction_cameras_and_state_all_reach_the_actions(network):
    batch = inputs([SENTENCE])
    base = network(**batch)
    words, mask = encode(["pick up the butter and place it in the basket"])
    assert not torch.allclose(network(**(batch | {"words": words, "mask": mask})), base)
    assert not torch.allclose(network(**(batch | {"state": batch["state"] + 1})), base)
    for camera in (0, 1):
        images = batch["images"].clone()
        images[:, camera] = 255 - images[:, camera]
        assert not torch.allclose(network(**(batch | {"images": images})), base)


def test_padding_does_not_change_what_is_seen(network):
    batch = inputs([SENTENCE])
    loud = batch["words"].clone()
    loud[batch["mask"] == 0] = 5
    torch.testing.assert_close(network(**(batch | {"words": loud})), network(**batch))


def test_words_are_padded_on_the_left_and_unknown_ones_share_one_id():
    ids, mask = encode(["Pick up the gizmo"])
    assert ids.shape == (1, MAX_WORDS) and mask.sum() == 4
    assert ids[0, -1] == 1 and ids[0, -4] == VOCABULARY["pick"]
