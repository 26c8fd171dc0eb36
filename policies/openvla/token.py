"""The network of OpenVLA itself: the decoder speaks an action, one token a dimension (Kim et al. 2024).

A dimension's value is one of the centres between 256 edges, and its token counts down from the end of the vocabulary:
the last id is the lowest bin. Whatever other token is spoken counts as the highest bin, as in the published code. Axis
letters as in `network`; the chunk has one action.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache

from policies.openvla.network import ACTION_DIM, Backbone, NetworkConfig, extended


class TokenNet(Backbone):
    """`generate` speaks; `forward` differentiates what is spoken."""

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        self.end = self.language_model.config.vocab_size - config.padding
        self.register_buffer("centres", torch.zeros(config.bins - 1), persistent=False)
        self.settle()

    def settle(self) -> None:
        """The centres of the bins."""
        edges = np.linspace(-1, 1, self.config.bins)
        self.centres = torch.from_numpy((edges[:-1] + edges[1:]) / 2).to(self.centres)

    def generate(self, pixels: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """As `Backbone.place`, to the ids int64[B, 7] that are spoken, the likeliest each time."""
        embedded, mask = self.place(pixels, tokens, mask)
        cache = DynamicCache(config=self.language_model.config)
        spoken: list[torch.Tensor] = []
        while len(spoken) < ACTION_DIM:
            states = self.decode(embedded, mask, cache)
            spoken.append(self.language_model.lm_head(states[:, -1:]).argmax(-1))
            embedded, mask = self.language_model.model.embed_tokens(spoken[-1]), extended(mask, 1)
        return torch.cat(spoken, dim=1)

    def values(self, spoken: torch.Tensor) -> torch.Tensor:
        """Ids int64[B, 7] to normalized actions float32[B, 1, 7]."""
        return self.centres[(self.end - 1 - spoken).clamp(0, len(self.centres) - 1)][:, None]

    def forward(
        self, pixels: torch.Tensor, tokens: torch.Tensor, spoken: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `generate`, and the ids int64[B, 7] that it speaks, to the mean action float32[B, 1, 7].

        Greedy choice has no gradient; the mean under the probabilities of the action tokens has one.
        """
        embedded, mask = self.place(pixels, tokens, mask)
        embedded = torch.cat([embedded, self.language_model.model.embed_tokens(spoken[:, :-1])], dim=1)
        states = self.decode(embedded, extended(mask, ACTION_DIM - 1))[:, -ACTION_DIM:]
        ids = torch.arange(self.end - self.config.bins, self.end, device=spoken.device)
        chances = self.language_model.lm_head(states)[..., ids].float().softmax(-1)
        return (chances @ self.values(ids[None])[0, 0])[:, None]


def without_words(module: Backbone) -> None:
    """Drop the head that gives words, for a network that never reads them."""
    module.language_model.lm_head = nn.Identity()
