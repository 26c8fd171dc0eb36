"""The network of `pocket-token`: the decoder itself speaks the actions, one token a dimension, as OpenVLA's does.

An action is 7 tokens from 256 bins at the end of the vocabulary (Kim et al. 2024, after RT-2), the chunk 8 actions one
after the other. Letters beside those of `model`: N = 56 tokens of a chunk, V size of the vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache

from policies.pocket.model import ACTION_DIM, CHUNK, Backbone, PocketConfig

BINS = 256
"""Tokens for the values of one dimension; they are the last ids of the vocabulary, in rising order."""
EDGES = torch.from_numpy(np.linspace(-1.0, 1.0, BINS))
"""float64[256], the lower edge of every bin. As in OpenVLA the last bin is the value 1 alone, so that 255 bins have a
width and 0 is the centre of one."""
CENTRES = torch.cat([(EDGES[:-1] + EDGES[1:]) / 2, (EDGES[-2:].sum() / 2)[None]]).float()
"""float32[256], the value that a bin is decoded to; the last bin's is that of the one before."""


def to_bins(chunks: torch.Tensor) -> torch.Tensor:
    """Actions float[B, H, 7] to bins int64[B, N]; what is outside of [-1, 1] is clipped."""
    values = chunks.detach().cpu().double().clamp(-1.0, 1.0)
    return (torch.bucketize(values, EDGES, right=True) - 1).flatten(1).to(chunks.device)


def from_bins(bins: torch.Tensor) -> torch.Tensor:
    """Bins int64[B, N] to actions float32[B, H, 7], the centres of the bins."""
    return CENTRES.to(bins.device)[bins].unflatten(1, (-1, ACTION_DIM))


class PocketTokenNet(Backbone):
    """`generate` speaks; `forward` differentiates what is spoken."""

    def __init__(self, config: PocketConfig):
        super().__init__(config, BINS)
        self.lm_head = nn.Linear(config.width, self.language.config.vocab_size, bias=False)

    def embed_bins(self, bins: torch.Tensor) -> torch.Tensor:
        """int64[B, N] -> float[B, N, D]."""
        return self.language.embed_tokens(bins + (self.lm_head.out_features - BINS))

    def taught(
        self, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor, bins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `embed` and the bins int64[B, N] that are spoken, to (logits float[B, N, V], slots float[B, H, D]).

        The logits of each token follow from the true ones before it (teacher forcing), all at once.
        """
        prefix, attend = self.embed(images, state, words, mask)
        tokens = torch.cat([prefix, self.embed_bins(bins[:, :-1])], dim=1)
        attend = torch.cat([attend, attend.new_ones(len(bins), bins.shape[1] - 1)], dim=1)
        states = self.language(inputs_embeds=tokens, attention_mask=attend).last_hidden_state
        last = prefix.shape[1]
        return self.lm_head(states[:, last - 1:]), states[:, last - CHUNK:last]

    def forward(
        self, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor, bins: torch.Tensor
    ) -> torch.Tensor:
        """As `taught`, to the mean action float[B, H, 7] under the probabilities of the bins.

        Greedy choice has no gradient; the mean has one, and where the network is sure it is what is chosen.
        """
        logits, _ = self.taught(images, state, words, mask, bins)
        return mean_action(logits)

    def generate(
        self, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """As `embed`, to the bins int64[B, N] that are spoken, the likeliest each time; words are never spoken."""
        tokens, attend = self.embed(images, state, words, mask)
        cache = DynamicCache(config=self.language.config)
        spoken: list[torch.Tensor] = []
        while len(spoken) < CHUNK * ACTION_DIM:
            states = self.language(
                inputs_embeds=tokens, attention_mask=attend, past_key_values=cache, use_cache=True
            ).last_hidden_state
            spoken.append(self.lm_head(states[:, -1:])[..., -BINS:].argmax(-1))
            tokens = self.embed_bins(spoken[-1])
            attend = torch.cat([attend, attend.new_ones(len(attend), 1)], dim=1)
        return torch.cat(spoken, dim=1)


def mean_action(logits: torch.Tensor) -> torch.Tensor:
    """Logits float[B, N, V] to the mean action float32[B, H, 7] under the probabilities of the bins."""
    probabilities = logits[..., -BINS:].float().softmax(-1)
    return (probabilities @ CENTRES.to(logits.device)).unflatten(1, (-1, ACTION_DIM))
