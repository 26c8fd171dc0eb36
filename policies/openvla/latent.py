"""The network of UniVLA: the decoder speaks four latent actions, and a decoder of its own makes a window of actions.

Bu et al. 2025, arXiv 2505.06111. The latent actions are 32 words at the end of the vocabulary; what is read are not the
words but the states that spoke them, together with those of the pictures. Words are drawn at a temperature among the
likeliest, as in the published evaluation, but only among the latent actions: another word cannot be an answer. Axis
letters as in `network`; W actions of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import DynamicCache

from policies.openvla.network import ACTION_DIM, Backbone, NetworkConfig, extended

LATENTS = 4
"""Latent actions of one decision."""
CODES, FIRST_CODE = 32, 32001
"""Words that are latent actions, and the id of the first."""
TEMPERATURE, NUCLEUS = 0.75, 0.9
"""Of the draw: temperature, and the share of the probability that is kept."""
HEADS = 8
"""Attention heads of the action decoder."""


@dataclass(frozen=True)
class LatentConfig(NetworkConfig):
    """Sizes of the network with those of the action decoder."""

    window: int = 12
    """Actions that one decision foresees; 12 for LIBERO."""
    decoder_width: int = 512
    """Width of the action decoder, a multiple of `HEADS`."""


class RMSNorm(nn.Module):
    """x / rms(x), scaled by channel."""

    def __init__(self, width: int):
        super().__init__()
        self.g = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[..., D] -> float[..., D]."""
        return x / (x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5).clamp_min(1e-8) * self.g


class GatedLinear(nn.Module):
    """One Linear for a value and its SiLU gate."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.project = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[..., inputs] -> float[..., outputs]."""
        value, gate = self.project(x).chunk(2, dim=-1)
        return value * F.silu(gate)


class PoolAttention(nn.Module):
    """A seed looks at all tokens."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.kv = nn.Linear(width, width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, seed: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """float[B, 1, D] and float[B, T, D] -> float[B, 1, D]."""
        q = self.q(seed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Pool(nn.Module):
    """Multi-head attention pooling of tokens to one vector, with norms behind what is added."""

    def __init__(self, inputs: int, width: int, heads: int):
        super().__init__()
        self.projection = nn.Linear(inputs, width)
        self.latents = nn.Parameter(torch.zeros(1, width))
        self.attn_norm, self.mlp_norm = RMSNorm(width), RMSNorm(width)
        self.attn = PoolAttention(width, heads)
        self.mlp = nn.Sequential(GatedLinear(width, 4 * width), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        """float[B, T, I], and what the seed begins with float[B, D], to float[B, D]."""
        seed = self.latents.expand(len(x), 1, -1)
        seed = seed if start is None else seed + start[:, None]
        seed = self.attn_norm(seed + self.attn(seed, self.projection(x)))
        return self.mlp_norm(seed + self.mlp(seed))[:, 0]


class ActionDecoder(nn.Module):
    """States of the pictures and of the latent actions to a window of normalized actions."""

    def __init__(self, inputs: int, width: int, window: int):
        super().__init__()
        self.latent_action_pool, self.visual_pool = Pool(inputs, width, HEADS), Pool(inputs, width, HEADS)
        self.proj = nn.Sequential(nn.Linear(width, ACTION_DIM * window), nn.Tanh())

    def forward(self, latent: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """float[B, 4, I] and float[B, P, I] to float32[B, W, 7]; the decoder itself is always float32."""
        pooled = self.latent_action_pool(latent.float(), self.visual_pool(seen.float()))
        return self.proj(pooled).unflatten(-1, (-1, ACTION_DIM))


class LatentNet(Backbone):
    """`generate` speaks latent actions; `forward` gives the window that goes with them."""

    def __init__(self, config: LatentConfig):
        super().__init__(config)
        self.action_decoder = ActionDecoder(self.language_model.config.hidden_size, config.decoder_width, config.window)

    def generate(
        self, pixels: torch.Tensor, tokens: torch.Tensor, chances: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Backbone.place`, and float[B, 4] drawn from [0, 1), to ids int64[B, 4] and actions float32[B, W, 7]."""
        embedded, mask = self.place(pixels, tokens, mask)
        cache = DynamicCache(config=self.language_model.config)
        spoken: list[torch.Tensor] = []
        latent: list[torch.Tensor] = []
        seen = None
        while len(spoken) < LATENTS:
            states = self.decode(embedded, mask, cache)
            seen = states[:, :self.pictured] if seen is None else seen
            latent.append(states[:, -1:])
            logits = self.language_model.lm_head(states[:, -1])[:, FIRST_CODE:FIRST_CODE + CODES]
            spoken.append(draw(logits.float(), chances[:, len(spoken)])[:, None] + FIRST_CODE)
            embedded, mask = self.language_model.model.embed_tokens(spoken[-1]), extended(mask, 1)
        return torch.cat(spoken, dim=1), self.action_decoder(torch.cat(latent, dim=1), seen)

    @property
    def pictured(self) -> int:
        """States from the beginning of the sequence that count as those of the picture, as published: one patch too
        early, for the first token is the begin of sequence."""
        return self.config.towers[0].patches

    def forward(
        self, pixels: torch.Tensor, tokens: torch.Tensor, spoken: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `generate`, and the ids int64[B, 4] that it speaks, to normalized actions float32[B, W, 7]."""
        embedded, mask = self.place(pixels, tokens, mask)
        embedded = torch.cat([embedded, self.language_model.model.embed_tokens(spoken[:, :-1])], dim=1)
        states = self.decode(embedded, extended(mask, LATENTS - 1))
        return self.action_decoder(states[:, -LATENTS:], states[:, :self.pictured])


def draw(logits: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    """int64[B], one of V choices each: where float[B] in [0, 1) falls among the likeliest of float[B, V].

    The likeliest are the fewest whose probabilities at `TEMPERATURE` sum to `NUCLEUS` or more.
    """
    probabilities, order = (logits / TEMPERATURE).softmax(-1).sort(dim=-1, descending=True, stable=True)
    before = probabilities.cumsum(-1) - probabilities
    kept = probabilities * (before < NUCLEUS)
    reached = (kept / kept.sum(-1, keepdim=True)).cumsum(-1)
    place = (reached <= chance.to(reached)[:, None]).sum(-1).clamp_max((before < NUCLEUS).sum(-1) - 1)
    return order.gather(-1, place[:, None])[:, 0]
