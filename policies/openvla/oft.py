"""The network of OpenVLA-OFT: parallel decoding, several cameras, proprioception, regression (Kim, Finn, Liang 2025).

The paper is arXiv 2502.19645. Behind the prompt stand 7 empty tokens for each of 8 actions and an end of sequence;
every token sees every other one; and the states from the last token of the prompt on, shifted by one as in speaking, go
seven at a time through a residual MLP that gives one action. Axis letters as in `network`; H actions of a chunk.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from policies.openvla.network import ACTION_DIM, STOP_TOKEN, Backbone, NetworkConfig, extended
from policies.openvla.token import without_words

CHUNK = 8
"""Actions in one chunk, for LIBERO."""
STATE_DIM = 8
"""Numbers of proprioception."""
SLOTS = CHUNK * ACTION_DIM
"""Empty tokens behind a prompt."""


class StateProjector(nn.Module):
    """Normalized proprioception to one token."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(STATE_DIM, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """float[B, 8] -> float[B, D]."""
        return self.fc2(F.gelu(self.fc1(state)))


class Residual(nn.Module):
    """Norm, Linear, ReLU, added to what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[..., D] -> float[..., D]."""
        return x + self.ffn(x)


class HeadMlp(nn.Module):
    """The states of one action's seven tokens to the action."""

    def __init__(self, width: int):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(ACTION_DIM * width)
        self.fc1 = nn.Linear(ACTION_DIM * width, width)
        self.mlp_resnet_blocks = nn.ModuleList(Residual(width) for _ in range(2))
        self.layer_norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, ACTION_DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[B, H, 7 * D] -> float[B, H, 7]."""
        x = F.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))


class ActionHead(nn.Module):
    """The regression head under its published name."""

    def __init__(self, width: int):
        super().__init__()
        self.model = HeadMlp(width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """float[B, 7 * H, D] -> float[B, H, 7]."""
        return self.model(states.reshape(len(states), CHUNK, -1))


class OftNet(Backbone):
    """Everything at once; the head that gives words is never read, and left out."""

    bidirectional = True

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        without_words(self)
        width = self.language_model.config.hidden_size
        self.proprio_projector, self.action_head = StateProjector(width), ActionHead(width)
        self.to(self.dtype)

    def forward(
        self, pixels: torch.Tensor, state: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """float[B, N, 6, S, S], float[B, 8], int64[B, L], its mask, to normalized actions float32[B, 8, 7]."""
        proprioception = self.proprio_projector(state.to(self.dtype))[:, None]
        embedded, mask = self.place(pixels, tokens, mask, proprioception)
        empty = embedded.new_zeros(len(embedded), SLOTS, embedded.shape[-1])
        stop = self.language_model.model.embed_tokens(tokens.new_full((len(tokens), 1), STOP_TOKEN))
        states = self.decode(torch.cat([embedded, empty, stop], dim=1), extended(mask, SLOTS + 1))
        return self.action_head(states[:, -SLOTS - 2:-2]).float()
