"""The network of `pocket-token`: the decoder itself speaks the actions, one token a dimension, as OpenVLA's does.

An action is 7 tokens from 256 bins at the end of the vocabulary (Kim et al. 2024, after RT-2); the actions of a chunk
are spoken side by side, and a token sees those of its own action alone. With the actions before it in sight a network
learns that the hand stays as it was, and greedily it then never opens or closes. A token is asked for by the one before
it and by the slot of its action: a decoder that was trained with another head knows already what a slot asks for.
Letters beside those of `model`: N = 56 tokens of a chunk, V size of the vocabulary.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache

from policies.pocket.model import ACTION_DIM, CHUNK, Backbone, PocketConfig, attention_bias

BINS = 256
"""Tokens for the values of one dimension; they are the last ids of the vocabulary, in rising order."""
EDGES = torch.from_numpy(np.linspace(-1.0, 1.0, BINS))
"""float64[256], the lower edge of every bin. As in OpenVLA the last bin is the value 1 alone, so that 255 bins have a
width and 0 is the centre of one."""
CENTRES = torch.cat([(EDGES[:-1] + EDGES[1:]) / 2, (EDGES[-2:].sum() / 2)[None]]).float()
"""float32[256], the value that a bin is decoded to; the last bin's is that of the one before."""

SPOKEN = (ACTION_DIM - 1, *range(ACTION_DIM - 1))
"""Dimensions as they are spoken one after the other, the gripper first: the expert's hand stands still where it closes,
and behind the translations a network learns to see that instead of the object."""
TURN = [SPOKEN.index(dimension) for dimension in range(ACTION_DIM)]
"""Dimension -> when it is spoken."""


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
        self.dimensions = nn.Parameter(torch.randn(1, ACTION_DIM, config.width) * 0.02)

    def asked(self, dimension: int, before: torch.Tensor | None = None) -> torch.Tensor:
        """What asks for a dimension of all actions, float[1 or B, H, D]: slots, and the bins int64[B, H] `before`.

        The first that is spoken has no bins before it.
        """
        places = self.slots + self.dimensions[:, dimension, None]
        if before is None:
            return places
        return places + self.language.embed_tokens(before + (self.lm_head.out_features - BINS))

    def taught(
        self, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor, bins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `embed` and the bins int64[B, N] that are spoken, to (logits float[B, N, V], slots float[B, H, D]).

        The logits of each token follow from the true ones before it (teacher forcing), all at once.
        """
        prefix, attend = self.embed(images, state, words, mask)
        bias, position = _own(attend, prefix.dtype)
        known = bins.unflatten(1, (CHUNK, ACTION_DIM)).unbind(2)
        first = self.asked(SPOKEN[0]).expand(len(bins), -1, -1)
        later = [self.asked(dimension, known[before]) for before, dimension in pairwise(SPOKEN)]
        tokens = torch.cat([prefix, first, *later], dim=1)
        states = self.language(inputs_embeds=tokens, attention_mask=bias, position_ids=position).last_hidden_state
        last = prefix.shape[1]
        by_action = states[:, last:].unflatten(1, (ACTION_DIM, CHUNK))[:, TURN].transpose(1, 2).flatten(1, 2)
        return self.lm_head(by_action), states[:, last - CHUNK:last]

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
        bias, position = _own(attend, tokens.dtype)
        cache, spoken = DynamicCache(config=self.language.config), []

        def read(tokens: torch.Tensor) -> torch.Tensor:
            known = cache.get_seq_length()
            rows = slice(known, known + tokens.shape[1])
            return self.language(
                inputs_embeds=tokens, attention_mask=bias[:, :, rows, :rows.stop], position_ids=position[:, rows],
                past_key_values=cache, use_cache=True).last_hidden_state

        read(tokens)
        for dimension in SPOKEN:
            asked = self.asked(dimension, spoken[-1] if spoken else None).expand(len(words), -1, -1)
            spoken.append(self.lm_head(read(asked))[..., -BINS:].argmax(-1))
        return torch.stack(spoken, dim=2)[:, :, TURN].flatten(1)


def _own(attend: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Of inputs int64[B, T], 0 where they are padding: what is added to attention, [B, 1, T + N, T + N], and positions.

    A token sees the inputs and the tokens of its own action before it; those of a dimension stand side by side.
    """
    known, asked = attend.shape[1], CHUNK * ACTION_DIM
    at = torch.arange(asked, device=attend.device)
    seen = torch.ones(known + asked, known + asked, dtype=torch.bool, device=attend.device).tril()
    seen[known:, known:] &= at[:, None] % CHUNK == at % CHUNK
    keys = torch.cat([attend, attend.new_ones(len(attend), asked)], dim=1).bool()
    position = torch.cat([torch.arange(known, device=attend.device), known + at // CHUNK])
    return attention_bias(seen & keys[:, None, None], dtype), position[None]


def mean_action(logits: torch.Tensor) -> torch.Tensor:
    """Logits float[B, N, V] to the mean action float32[B, H, 7] under the probabilities of the bins."""
    probabilities = logits[..., -BINS:].float().softmax(-1)
    return (probabilities @ CENTRES.to(logits.device)).unflatten(1, (-1, ACTION_DIM))
