"""The networks of pi0 and pi0.5 in LeRobot's classes, as one module that turns noise into a chunk and can be quantized.

A PaliGemma reads pictures and words once; a smaller Gemma, the expert, reads noisy actions at every step and attends to
the keys and values of the former (Black et al. 2024, arXiv 2410.24164; pi0.5: arXiv 2504.16054, whose expert's norms
are modulated by the flow time). What LeRobot does in `sample_actions` is done here with gradients and without copying
the keys and values; tests hold it equal to LeRobot's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lerobot.policies.pi0.modeling_pi0 import PI0Policy
from lerobot.policies.pi05.modeling_pi05 import PI05Policy, make_att_2d_masks
from lerobot.policies.pi_gemma import PaliGemmaForConditionalGenerationWithPiGemma, PiGemmaForCausalLM
from torch import nn
from transformers import CONFIG_MAPPING

POLICIES = {"pi0": PI0Policy, "pi05": PI05Policy}
"""LeRobot's name of the policy -> its class."""
EAGER = "eager"
"""Attention implementation that takes the masks as they are made here."""


class Memory:
    """Keys and values of the prefix, written while it is read; stands in for a cache of transformers.

    A layer overwrites its own and never appends, so it may be called again.
    """

    def __init__(self) -> None:
        self.kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """Layer -> keys and values float[B, heads, P, D]."""

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int,
               *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """float[B, heads, T, D] each: what the layer attends to."""
        self.kept[layer_idx] = (keys, values)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before those that are read now."""
        return 0


class Recall:
    """What the expert attends to: a memory, which it does not change, and its own keys and values behind it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int,
               *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """float[B, heads, P + T, D] each."""
        before = self._memory.kept[layer_idx]
        return torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of the prefix."""
        return self._memory.kept[layer_idx][0].shape[2]


class Step(nn.Module):
    """One denoising step. It owns nothing: hooks on it see every call with its flow time."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, network: PiNetwork, recall: Recall, prefix: torch.Tensor,
                state: torch.Tensor | None) -> torch.Tensor:
        """Velocity float[B, H, A] from noise to actions at the time float[B] from 0, noise, to 1, actions."""
        # LeRobot counts time from 1, noise, to 0, and its velocity points to the noise.
        return -network.velocity(x, 1.0 - time, recall, prefix, state)


class PiNetwork(nn.Module):
    """LeRobot's network with its sampler; see `quantizers.layout.ModelLayout.forward`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.step = Step()
        both = model.paligemma_with_expert
        # Neither is ever asked for words; the first is tied to the embeddings.
        both.paligemma.lm_head, both.gemma_expert.lm_head = nn.Identity(), nn.Identity()
        for part in (both.paligemma.model.language_model, both.gemma_expert.model):
            part.config._attn_implementation = EAGER

    def forward(self, images: torch.Tensor, image_masks: torch.Tensor, tokens: torch.Tensor, token_masks: torch.Tensor,
                noise: torch.Tensor, state: torch.Tensor | None = None) -> torch.Tensor:
        """The chunk float[B, H, A], normalized as the network was trained.

        `images` float[B, C, 3, S, S] in [-1, 1], `image_masks` bool[B, C], `tokens` int[B, T] with `token_masks`,
        `noise` float[B, H, A], `state` float[B, S] for pi0.
        """
        self._say_types()
        model, memory = self.model, Memory()
        embedded, padding, attending = model.embed_prefix(list(images.unbind(1)), list(image_masks.unbind(1)), tokens,
                                                          token_masks)
        mask = model._prepare_attention_masks_4d(make_att_2d_masks(padding, attending))
        model.paligemma_with_expert(attention_mask=mask, position_ids=padding.cumsum(1) - 1, past_key_values=memory,
                                    inputs_embeds=[embedded, None], use_cache=True)
        recall = Recall(memory)
        x, steps = noise, model.config.num_inference_steps
        for number in range(steps):
            time = torch.full((len(x),), number / steps, device=x.device)
            x = x + self.step(x, time, self, recall, padding, state) / steps
        return x

    def velocity(self, x: torch.Tensor, time: torch.Tensor, recall: Recall, prefix: torch.Tensor,
                 state: torch.Tensor | None) -> torch.Tensor:
        """LeRobot's velocity float[B, H, A] at its own time float[B]; `prefix` bool[B, P] marks the prefix's tokens."""
        model = self.model
        inputs = (x, time) if state is None else (state, x, time)
        embedded, padding, attending, condition = model.embed_suffix(*inputs)
        seen = prefix[:, None].expand(-1, padding.shape[1], -1)
        mask = model._prepare_attention_masks_4d(torch.cat([seen, make_att_2d_masks(padding, attending)], dim=2))
        positions = prefix.sum(1, keepdim=True) + padding.cumsum(1) - 1
        (_, out), _ = model.paligemma_with_expert(
            attention_mask=mask, position_ids=positions, past_key_values=recall, inputs_embeds=[None, embedded],
            use_cache=False, adarms_cond=[None, condition])
        return model.action_out_proj(out[:, -model.config.chunk_size:].float())

    def _say_types(self) -> None:
        """LeRobot asks some Linears for the type of their weight; a quantized one has none and takes any input."""
        both = self.model.paligemma_with_expert
        asked = [both.paligemma.model.language_model.layers[0].self_attn.q_proj,
                 both.gemma_expert.model.layers[0].self_attn.q_proj, getattr(self.model, "state_proj", None)]
        for layer in asked:
            if layer is not None and not hasattr(layer, "weight"):
                layer.weight = torch.empty(0, dtype=torch.float32)


def build(kind: str, config: Any, sizes: Mapping[str, Any] | None) -> tuple[Any, PiNetwork]:
    """LeRobot's policy of this config and the network in it, with whatever is in memory for weights.

    `sizes` has the transformers configs `paligemma` and `expert` of a network with other sizes than LeRobot's.
    """
    config.device = "meta"
    with torch.device("meta"):
        policy = POLICIES[kind](config)
        if sizes is not None:
            _resize_(policy.model, kind, config, sizes)
    config.device = "cpu"
    both = policy.model.to_empty(device="cpu").paligemma_with_expert
    for part in (both.paligemma.model.language_model, both.gemma_expert.model):
        part.rotary_emb = type(part.rotary_emb)(part.config).to(part.rotary_emb.inv_freq.dtype)
    places = both.paligemma.model.vision_tower.vision_model.embeddings
    places.position_ids = torch.arange(places.num_positions).expand((1, -1))
    return policy, PiNetwork(policy.model.eval())


def _resize_(model: nn.Module, kind: str, config: Any, sizes: Mapping[str, Any]) -> None:
    both, width = model.paligemma_with_expert, sizes["expert"]["hidden_size"]
    modulated = {"use_adarms": kind == "pi05", "adarms_cond_dim": width if kind == "pi05" else None}
    both.paligemma = PaliGemmaForConditionalGenerationWithPiGemma(CONFIG_MAPPING["paligemma"](**sizes["paligemma"]))
    both.gemma_expert = PiGemmaForCausalLM(CONFIG_MAPPING["gemma"](**sizes["expert"], **modulated))
    both.gemma_expert.model.embed_tokens = None
    names = {"action_in_proj": (config.max_action_dim, width), "action_out_proj": (width, config.max_action_dim),
             "state_proj": (config.max_state_dim, width), "action_time_mlp_in": (2 * width, width),
             "action_time_mlp_out": (width, width), "time_mlp_in": (width, width), "time_mlp_out": (width, width)}
    for name, shape in names.items():
        if hasattr(model, name):
            setattr(model, name, nn.Linear(*shape))
