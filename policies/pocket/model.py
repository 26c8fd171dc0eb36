"""What the pocket policies share, two cameras, an instruction and proprioception in, and the network of `pocket-oft`.

A ViT with LayerNorm, biases and LayerScale, a projector, and a decoder with RMSNorm, RoPE, grouped-query attention and
SwiGLU: the blocks of the large policies at a thousandth of their size. They are transformers' own (DINOv2 layers,
Llama), so that a quantizer that handles this model handles theirs. The sequence ends with one learnt token per action
of the chunk, its slot; the heads differ in how they read the decoder. The head of `pocket-oft` is that of OpenVLA-OFT
(Kim et al. 2025, parallel decoding with an L1 regression head). Axis letters: B batch, C cameras, S pixels, W words,
T tokens, D width, H actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import Dinov2Config, LlamaConfig, LlamaModel
from transformers.models.dinov2.modeling_dinov2 import Dinov2Encoder

from policies.pocket.words import VOCABULARY

CHUNK = 8
ACTION_DIM = 7
STATE_DIM = 8
CAMERAS = ("agentview", "wrist")


@dataclass(frozen=True)
class PocketConfig:
    """Sizes of the network."""

    image_size: int = 128
    """Side of the square images, pixels; a multiple of 32."""
    vision_width: int = 192
    """Width of the ViT."""
    vision_layers: int = 4
    """Layers of the ViT."""
    width: int = 384
    """Width of the decoder."""
    layers: int = 4
    """Layers of the decoder."""
    heads: int = 6
    """Query heads of the decoder; two key-value heads serve them."""
    mlp: int = 1024
    """Inner width of the decoder's SwiGLU."""
    attention: str = "eager"
    """transformers' attention implementation; on a CPU in bfloat16 "eager" trains 1.4 times as fast as "sdpa"."""


class Vision(nn.Module):
    """uint8 images to a grid of tokens: a convolutional stem (1/16), ViT layers, and 2x2 neighbours joined."""

    def __init__(self, config: PocketConfig):
        super().__init__()
        width = config.vision_width
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 4, stride=4), nn.GroupNorm(8, 64), nn.GELU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.GroupNorm(8, 128), nn.GELU(),
            nn.Conv2d(128, width, 3, stride=2, padding=1),
        )
        self.grid = config.image_size // 16
        self.position = nn.Parameter(torch.randn(1, self.grid**2, width) * 0.02)
        self.camera = nn.Parameter(torch.randn(len(CAMERAS), 1, width) * 0.02)
        self.encoder = Dinov2Encoder(Dinov2Config(
            hidden_size=width, num_hidden_layers=config.vision_layers, num_attention_heads=width // 64, mlp_ratio=4,
            layerscale_value=0.5, attn_implementation=config.attention,
        ))
        self.norm = nn.LayerNorm(width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8[B, C, S, S, 3] -> float[B, C * (S / 32)^2, 4 * vision_width]."""
        batch, cameras = images.shape[:2]
        pixels = images.flatten(0, 1).permute(0, 3, 1, 2).to(self.position.dtype) / 127.5 - 1.0
        tokens = self.stem(pixels).flatten(2).transpose(1, 2) + self.position
        tokens = tokens + self.camera.repeat(batch, 1, 1)
        tokens = self.norm(self.encoder(tokens).last_hidden_state)
        half = self.grid // 2
        tokens = tokens.view(batch, cameras, half, 2, half, 2, -1).transpose(3, 4)
        return tokens.reshape(batch, cameras * half * half, -1)


class Projector(nn.Module):
    """Two Linears from one width to another."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.fc1 = nn.Linear(inputs, outputs)
        self.fc2 = nn.Linear(outputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[..., inputs] -> float[..., outputs]."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Backbone(nn.Module):
    """All inputs to the decoder's states; a head adds the actions."""

    def __init__(self, config: PocketConfig, more_tokens: int = 0):
        """`more_tokens` ids at the end of the vocabulary are the head's own."""
        super().__init__()
        self.config = config
        self.vision = Vision(config)
        self.projector = Projector(4 * config.vision_width, config.width)
        self.state_projector = Projector(STATE_DIM, config.width)
        self.language = LlamaModel(LlamaConfig(
            vocab_size=len(VOCABULARY) + 2 + more_tokens, hidden_size=config.width, intermediate_size=config.mlp,
            num_hidden_layers=config.layers, num_attention_heads=config.heads, num_key_value_heads=2,
            head_dim=config.width // config.heads, max_position_embeddings=256, pad_token_id=0, use_cache=False,
            attn_implementation=config.attention,
        ))
        self.slots = nn.Parameter(torch.randn(1, CHUNK, config.width) * 0.02)
        # Proprioception in units of its spread over training, so that a millimetre is visible.
        self.register_buffer("state_mean", torch.zeros(STATE_DIM))
        self.register_buffer("state_scale", torch.ones(STATE_DIM))

    def embed(
        self, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8[B, C, S, S, 3], float[B, 8], int64[B, W], int64[B, W] -> float[B, T, D], int64[B, T].

        The decoder's input in the order instruction, proprioception, pictures, slots, and 0 where it is padding.
        """
        batch = images.shape[0]
        text = self.language.embed_tokens(words)
        proprioception = self.state_projector(self.normalized(state))[:, None]
        vision = self.projector(self.vision(images))
        # The instruction comes first: attention is causal, and what is looked for must be known to those who look.
        tokens = torch.cat([text, proprioception, vision, self.slots.expand(batch, -1, -1)], dim=1)
        return tokens, torch.cat([mask, mask.new_ones(batch, tokens.shape[1] - mask.shape[1])], dim=1)

    def normalized(self, state: torch.Tensor) -> torch.Tensor:
        """Proprioception float[B, 8] in units of its spread."""
        return (state - self.state_mean) / self.state_scale

    def context(
        self, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """As `embed`, to the decoder's last states float[B, 1 + C * (S / 32)^2 + H, D] of all that follows the words.

        The words are left out: they see nothing but each other, and without them there is no padding.
        """
        tokens, attend = self.embed(images, state, words, mask)
        return self.language(inputs_embeds=tokens, attention_mask=attend).last_hidden_state[:, words.shape[1]:]


class ActionHead(nn.Module):
    """The decoder's state at each action slot to that action."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, ACTION_DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[B, H, D] -> float[B, H, 7]."""
        return self.fc2(nn.functional.gelu(self.fc1(self.norm(x))))


class PocketOFTNet(Backbone):
    """Parallel decoding: the decoder's state at each slot is that action."""

    def __init__(self, config: PocketConfig):
        super().__init__(config)
        self.action_head = ActionHead(config.width)

    def forward(
        self, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """As `embed`, to actions float[B, H, 7], unclipped."""
        return self.action_head(self.context(images, state, words, mask)[:, -CHUNK:])


def attention_bias(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to attention so that a token sees only where `seen`, bool[B, 1, queries, keys], is true.

    The lowest number and not minus infinity: a row of padding sees nothing, and must not become NaN.
    """
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)
