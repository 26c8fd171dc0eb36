"""The network of OpenVLA: two vision towers, a projector and Llama-2, under the names of the published checkpoints.

What a decoder reads is in the order begin-of-sequence, pictures (and proprioception), prompt, and what the head adds
(Kim et al. 2024, arXiv 2406.09246). Prompts of a batch differ in length; the shorter ones are padded between pictures
and prompt, where neither the first nor the last tokens move. Axis letters: B batch, N pictures, S pixels, P patches, L
prompt tokens with padding, T tokens, D width of the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from policies.openvla.tower import Tower, TowerConfig

ACTION_DIM = 7
"""Numbers in one action."""
EMPTY_TOKEN = 29871
"""Llama-2's token of a lone blank, which ends every prompt (as it stood before the actions in training)."""
STOP_TOKEN = 2
"""Llama-2's end of sequence."""
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""Types that a checkpoint may have."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network."""

    towers: tuple[TowerConfig, TowerConfig]
    """DINOv2 and SigLIP, in the order of the channels of a picture."""
    text: Mapping[str, Any]
    """Keyword arguments of `transformers.LlamaConfig`."""
    bins: int
    """Edges of the bins that an action token stands for, 256 for all published checkpoints."""
    padding: int
    """Ids at the end of the vocabulary that only round it up; action tokens end before them."""
    images: int = 1
    """Pictures of one observation."""
    dtype: str = "bfloat16"
    """Type of the weights, a key of `DTYPES`."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES or self.images < 1 or self.bins < 2:
            raise ValueError(f"dtype is one of {', '.join(DTYPES)}, images at least 1, bins at least 2, got "
                             f"{self.dtype!r}, {self.images}, {self.bins}")

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` gives an equal config."""
        return asdict(self) | {"towers": [asdict(tower) for tower in self.towers], "text": dict(self.text)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The config that `to_json` wrote. Raises TypeError for unknown or missing fields."""
        return cls(**{**data, "towers": tuple(TowerConfig(**tower) for tower in data["towers"])})

    def llama(self, bidirectional: bool) -> LlamaConfig:
        """The decoder's config. `bidirectional` lets every token see every other one."""
        return LlamaConfig(**self.text, is_causal=not bidirectional, use_cache=False, attn_implementation="sdpa")


class VisionBackbone(nn.Module):
    """Both towers on one picture, their tokens side by side."""

    def __init__(self, towers: tuple[TowerConfig, TowerConfig]):
        super().__init__()
        self.featurizer, self.fused_featurizer = (Tower(config) for config in towers)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float[B, 6, S, S], normalized for one tower after the other, to float[B, P, sum of widths]."""
        first, second = pixels.split(3, dim=1)
        return torch.cat([self.featurizer(first), self.fused_featurizer(second)], dim=-1)


class Projector(nn.Module):
    """Patch tokens to the decoder's width."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.fc1 = nn.Linear(inputs, 4 * inputs)
        self.fc2 = nn.Linear(4 * inputs, outputs)
        self.fc3 = nn.Linear(outputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[..., inputs] -> float[..., outputs]."""
        return self.fc3(F.gelu(self.fc2(F.gelu(self.fc1(x)))))


class Backbone(nn.Module):
    """All inputs to the decoder's states; a head adds the actions."""

    bidirectional = False

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.vision_backbone = VisionBackbone(config.towers)
        self.language_model = LlamaForCausalLM(config.llama(self.bidirectional))
        width = self.language_model.config.hidden_size
        self.projector = Projector(sum(tower.width for tower in config.towers), width)
        for layer in self.language_model.model.layers:
            layer.self_attn.is_causal = not self.bidirectional
        self.to(DTYPES[config.dtype])

    @property
    def dtype(self) -> torch.dtype:
        """Type of what is computed."""
        return self.language_model.model.embed_tokens.weight.dtype

    def settle(self) -> None:
        """Compute what is neither in a checkpoint nor derived from it."""

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """float[B, N, 6, S, S] -> float[B, N * P, D]; the pictures of a sample follow each other."""
        batch = len(pixels)
        tokens = self.projector(self.vision_backbone(pixels.to(self.dtype).flatten(0, 1)))
        return tokens.reshape(batch, -1, tokens.shape[-1])

    def place(
        self, pixels: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor | None, *after_pictures: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """float[B, N, 6, S, S], int64[B, L] and its mask int64[B, L] to float[B, T, D], int64[B, T], 0 where padded.

        The tokens of a row are its begin of sequence, padding, and the rest of the prompt; no mask, no padding.
        `after_pictures` are further float[B, 1, D] behind the pictures.
        """
        text = self.language_model.model.embed_tokens(tokens)
        seen = torch.cat([self.see(pixels), *after_pictures], dim=1)
        placed = torch.cat([text[:, :1], seen, text[:, 1:]], dim=1)
        if mask is not None:
            mask = torch.cat([mask[:, :1], mask.new_ones(seen.shape[:2]), mask[:, 1:]], dim=1)
        return placed, mask

    def decode(self, embedded: torch.Tensor, mask: torch.Tensor | None, cache: Any = None) -> torch.Tensor:
        """The decoder's states float[B, T, D] of T new tokens; `mask` int64[B, T'] counts those in the cache too."""
        positions = None if mask is None else (mask.cumsum(1) - 1).clamp_min(0)[:, -embedded.shape[1]:]
        return self.language_model.model(
            inputs_embeds=embedded, attention_mask=mask, position_ids=positions, past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state


def extended(mask: torch.Tensor | None, tokens: int) -> torch.Tensor | None:
    """The mask int64[B, T + tokens] when that many tokens follow."""
    return None if mask is None else torch.cat([mask, mask.new_ones(len(mask), tokens)], dim=1)


def empty(kind: type[Backbone], config: NetworkConfig) -> Backbone:
    """A network for evaluation whose weights are whatever is in memory, to be filled; nothing is drawn or copied."""
    with torch.device("meta"):
        module = kind(config)
    module.to_empty(device="cpu")
    module.language_model.model.rotary_emb = LlamaRotaryEmbedding(module.language_model.config)
    module.settle()
    return module.eval()
