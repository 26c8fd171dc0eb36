"""The network of `pocket-flow`: a small diffusion transformer turns noise into the chunk by flow matching.

Shaped like the action head of GR00T N1 (Bjorck et al. 2025): tokens for proprioception and for each noisy action,
blocks that alternate cross-attention to the decoder's states with self-attention, AdaLN modulated by the flow time, a
few Euler steps. Time runs from 0, all noise, to 1, the actions; what is learnt is the velocity action - noise on the
straight line between them (Lipman et al. 2023). Letters beside those of `model`: K keys, E width of the transformer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from policies.pocket.model import ACTION_DIM, CHUNK, STATE_DIM, Backbone, PocketConfig

STEPS = 8
"""Euler steps from noise to actions."""
TIME_SCALE = 1000.0
"""Flow time 1 in the units of the sinusoids."""


@dataclass(frozen=True)
class FlowConfig(PocketConfig):
    """Sizes of the network with those of its diffusion transformer."""

    dit_width: int = 192
    """Width of the transformer."""
    dit_layers: int = 4
    """Blocks; the even ones cross-attend, the odd ones self-attend."""
    dit_heads: int = 3
    """Attention heads of a block."""
    dit_mlp: int = 448
    """Inner width of a block's MLP."""


class AdaLayerNorm(nn.Module):
    """LayerNorm without weights, then scale and shift that follow from the time."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.linear = nn.Linear(width, 2 * width)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """float[B, T, E], float[B, E] -> float[B, T, E]."""
        scale, shift = self.linear(F.silu(time))[:, None].chunk(2, dim=-1)
        return self.norm(x) * (1.0 + scale) + shift


class Attention(nn.Module):
    """Attention of a block; keys and values come from the block's own tokens or from elsewhere."""

    def __init__(self, width: int, key_width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(key_width, width)
        self.to_v = nn.Linear(key_width, width)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """float[B, T, E], float[B / n, K, key_width] -> float[B, T, E]; a row of keys serves n rows in sequence."""
        q, k, v = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.to_q(x), self.to_k(keys), self.to_v(keys))
        )
        if len(k) < len(q):
            k, v = (tensor.repeat_interleave(len(q) // len(k), 0) for tensor in (k, v))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two Linears with a GELU between them."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[B, T, E] -> float[B, T, E]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """AdaLN and attention, AdaLN and MLP."""

    def __init__(self, config: FlowConfig, cross: bool):
        super().__init__()
        width = config.dit_width
        self.cross = cross
        self.norm1 = AdaLayerNorm(width)
        self.attention = Attention(width, config.width if cross else width, config.dit_heads)
        self.norm2 = AdaLayerNorm(width)
        self.mlp = MLP(width, config.dit_mlp)

    def forward(self, x: torch.Tensor, context: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """float[B, T, E], float[B, K, D], float[B, E] -> float[B, T, E]."""
        normed = self.norm1(x, time)
        x = x + self.attention(normed, context if self.cross else normed)
        return x + self.mlp(self.norm2(x, time))


class DiT(nn.Module):
    """Noisy actions and their time to the velocity towards the actions."""

    def __init__(self, config: FlowConfig):
        super().__init__()
        width = config.dit_width
        self.time_in, self.time_out = nn.Linear(width, width), nn.Linear(width, width)
        self.state_in, self.action_in = nn.Linear(STATE_DIM, width), nn.Linear(ACTION_DIM, width)
        self.position = nn.Parameter(torch.randn(1, 1 + CHUNK, width) * 0.02)
        self.blocks = nn.ModuleList(Block(config, cross=index % 2 == 0) for index in range(config.dit_layers))
        self.norm = AdaLayerNorm(width)
        self.action_out = nn.Linear(width, ACTION_DIM)

    def forward(
        self, noisy: torch.Tensor, time: torch.Tensor, state: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        """float[B, H, 7], float[B], normalized float[B, 8], float[B / n, K, D] -> float[B, H, 7].

        Each row of the context serves n rows in sequence, so that training can draw several noises for it.
        """
        when = self.time_out(F.silu(self.time_in(sinusoids(time, self.time_in.in_features))))
        x = torch.cat([self.state_in(state)[:, None], self.action_in(noisy)], dim=1) + self.position
        for block in self.blocks:
            x = block(x, context, when)
        return self.action_out(self.norm(x[:, 1:], when))


class PocketFlowNet(Backbone):
    """`forward` integrates; `velocity` is one evaluation of the transformer."""

    def __init__(self, config: FlowConfig):
        super().__init__(config)
        self.dit = DiT(config)
        # Actions in units of their spread over training: an axis that hardly moves would drown in unit noise.
        self.register_buffer("action_mean", torch.zeros(ACTION_DIM))
        self.register_buffer("action_scale", torch.ones(ACTION_DIM))

    def velocity(
        self, noisy: torch.Tensor, time: torch.Tensor, state: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        """Normalized actions float[B, H, 7] at float[B], raw state float[B, 8] -> float[B, H, 7]; see `DiT`."""
        return self.dit(noisy, time, self.normalized(state), context)

    def integrate(self, context: torch.Tensor, state: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """float[B, K, D], float[B, 8], standard normal float[B, H, 7] -> actions float[B, H, 7], unclipped."""
        x = noise
        for step in range(STEPS):
            time = torch.full((len(x),), step / STEPS, device=x.device)
            x = x + self.velocity(x, time, state, context) / STEPS
        return x * self.action_scale + self.action_mean

    def forward(
        self, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """As `embed` and the noise of `integrate`, to actions float[B, H, 7], unclipped."""
        return self.integrate(self.context(images, state, words, mask), state, noise)


def sinusoids(time: torch.Tensor, width: int) -> torch.Tensor:
    """Flow times float[B] to float32[B, width]: cosines and sines of `width` / 2 frequencies from 1 to 1e-4."""
    frequencies = torch.exp(-math.log(1e4) * torch.arange(width // 2, device=time.device) / (width // 2))
    angles = TIME_SCALE * time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
