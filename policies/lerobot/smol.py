"""The network of SmolVLA in LeRobot's classes, as one module that turns noise into a chunk, and its layout.

A SmolVLM reads pictures, words and state once. A narrower expert reads noisy actions at every step; in every other
layer its queries meet the keys and values of both in one attention, in the rest they read keys and values that Linears
of its own make of the SmolVLM's (Shukor et al. 2025, arXiv 2506.01844). Only in the latter can a scale move from values
to what reads them, or between queries and keys. The layers are no modules that are called, so blocks are their MLPs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy, make_att_2d_masks
from lerobot.policies.smolvla.smolvlm_with_expert import SmolVLMWithExpertModel
from torch import nn

from quantizers.folds import AttentionSite, Fold, LinearFold, NormFold, ValueFold
from quantizers.layout import LinearSite, Role

BOTH = "model.vlm_with_expert"
VISION = f"{BOTH}.vlm.model.vision_model.encoder.layers"
PROJECTOR = f"{BOTH}.vlm.model.connector"
LANGUAGE = f"{BOTH}.vlm.model.text_model.layers"
EXPERT = f"{BOTH}.lm_expert.layers"


class CrossAttention(nn.Module):
    """The Linears of an attention that reads the SmolVLM's keys and values, and what LeRobot computes between them.

    LeRobot calls no module for that, so no hook would see it.
    """

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.head_dim = attention.head_dim
        self.q_proj, self.k_proj = attention.q_proj, attention.k_proj
        self.v_proj, self.o_proj = attention.v_proj, attention.o_proj

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """float[B, Q, heads * D] of float[B, T, heads, D] each, in float32 as LeRobot does; `mask` bool[B, Q, K]."""
        q, k, v = (part.float().transpose(1, 2) for part in (query, key, value))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None], enable_gqa=True)
        return out.transpose(1, 2).flatten(2).to(value.dtype)


class Both(SmolVLMWithExpertModel):
    """LeRobot's SmolVLM and expert, whose crossing layers attend through such modules."""

    _crossing: CrossAttention | None = None

    def forward_cross_attn_layer(self, model_layers: Any, inputs_embeds: Any, layer_idx: int, *args: Any, **kwargs: Any
                                 ) -> Any:
        """LeRobot's; the prefix was read before, so the expert's is the only attention in it."""
        self.__dict__["_crossing"] = model_layers[1][layer_idx].self_attn  # not as another part of this module
        try:
            return super().forward_cross_attn_layer(model_layers, inputs_embeds, layer_idx, *args, **kwargs)
        finally:
            self.__dict__["_crossing"] = None

    def get_attention_interface(self) -> Any:
        """`(mask, batch size, head dim, queries, keys, values) -> output`."""
        crossing = self._crossing
        return self.eager_attention_forward if crossing is None else (
            lambda mask, _batch, _dim, query, key, value: crossing(query, key, value, mask))


class SmolStep(nn.Module):
    """One denoising step. It owns nothing: hooks on it see every call with its flow time."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, model: nn.Module, memory: Any,
                prefix: torch.Tensor) -> torch.Tensor:
        """Velocity float[B, H, A] from noise to actions at the time float[B] from 0, noise, to 1, actions."""
        # LeRobot counts time from 1, noise, to 0, and its velocity points to the noise.
        return -model.denoise_step(prefix_pad_masks=prefix, past_key_values=memory, x_t=x, timestep=1.0 - time)


class SmolNetwork(nn.Module):
    """LeRobot's network with its sampler; see `quantizers.layout.ModelLayout.forward`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.step = SmolStep()
        both = model.vlm_with_expert
        both.vlm.lm_head = nn.Identity()  # it is never asked for words
        both.__class__ = Both
        for number, layer in enumerate(both.lm_expert.layers):
            if _crosses(both, number):
                layer.self_attn = CrossAttention(layer.self_attn)

    def forward(self, images: torch.Tensor, image_masks: torch.Tensor, tokens: torch.Tensor, token_masks: torch.Tensor,
                noise: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """The chunk float[B, H, A], normalized as the network was trained; arguments as of `pi.PiNetwork`."""
        self._say_types()
        model = self.model
        embedded, padding, attending = model.embed_prefix(list(images.unbind(1)), list(image_masks.unbind(1)), tokens,
                                                          token_masks, state=state)
        _, memory = model.vlm_with_expert(
            attention_mask=make_att_2d_masks(padding, attending), position_ids=padding.cumsum(1) - 1,
            past_key_values=None, inputs_embeds=[embedded, None], use_cache=True, fill_kv_cache=True)
        x, steps = noise, model.config.num_steps
        for number in range(steps):
            time = torch.full((len(x),), number / steps, device=x.device)
            x = x + self.step(x, time, model, memory, padding) / steps
        return x

    def _say_types(self) -> None:
        """LeRobot asks Linears of attention for the type of their weight; a quantized one takes any input."""
        both = self.model.vlm_with_expert
        for layer in (*both.vlm.model.text_model.layers, *both.lm_expert.layers):
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                linear = getattr(layer.self_attn, name)
                if not hasattr(linear, "weight"):
                    linear.weight = torch.empty(0, dtype=torch.float32)


def build(kind: str, config: Any, sizes: Mapping[str, Any] | None) -> tuple[Any, SmolNetwork]:
    """LeRobot's policy of this config and the network in it, with arbitrary weights.

    `config.vlm_model_name` is the repository or folder with the SmolVLM's config and processor, whose weights are not
    read. Raises ValueError for `sizes`, which follow from that config.
    """
    if sizes is not None:
        raise ValueError("the sizes of SmolVLA's network follow from the config of its SmolVLM")
    config.load_vlm_weights = False
    policy = SmolVLAPolicy(config)
    return policy, SmolNetwork(policy.model.eval())


def structure(module: nn.Module) -> dict[str, Any]:
    """`linears`, `folds`, `attention`, `blocks` and `denoiser` of a `ModelLayout`."""
    both = module.model.vlm_with_expert
    sizes = both.config.text_config
    vision = both.vlm.model.vision_model
    vision_dim = vision.config.hidden_size // vision.config.num_attention_heads
    folds: list[Fold] = []
    sites: list[AttentionSite] = []
    blocks: list[str] = []
    for number in range(len(vision.encoder.layers)):
        block = f"{VISION}.{number}"
        attention = f"{block}.self_attn"
        folds += [NormFold(f"{block}.layer_norm1", tuple(f"{attention}.{name}_proj" for name in "qkv")),
                  ValueFold(f"{attention}.v_proj", (f"{attention}.out_proj",), vision_dim),
                  NormFold(f"{block}.layer_norm2", (f"{block}.mlp.fc1",))]
        sites.append(AttentionSite(f"{attention}.q_proj", f"{attention}.k_proj", vision_dim))
        blocks.append(block)
    for number in range(both.num_vlm_layers):
        folds += _layer_folds(f"{LANGUAGE}.{number}", "qkv")
        blocks.append(f"{LANGUAGE}.{number}.mlp")
    repeats = sizes.num_attention_heads // sizes.num_key_value_heads
    for number in range(both.num_expert_layers):
        layer = f"{EXPERT}.{number}"
        crossing = _crosses(both, number)
        folds += _layer_folds(layer, "q" if crossing else "qkv")
        if crossing:
            attention = f"{layer}.self_attn"
            folds.append(ValueFold(f"{attention}.v_proj", (f"{attention}.o_proj",), sizes.head_dim, repeats))
            sites.append(AttentionSite(f"{attention}.q_proj", f"{attention}.k_proj", sizes.head_dim, repeats, "halves"))
        blocks.append(f"{layer}.mlp")
    folds.append(NormFold(f"{BOTH}.lm_expert.norm", ("model.action_out_proj",)))
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return {"linears": tuple(LinearSite(name, _role(name)) for name in sorted(names, key=_stage)),
            "folds": tuple(folds), "attention": tuple(sites), "blocks": tuple(blocks), "denoiser": "step"}


def _crosses(both: nn.Module, expert_layer: int) -> bool:
    """Whether a layer of the expert reads keys and values that its own Linears make of the SmolVLM's."""
    layer = expert_layer * (both.num_vlm_layers // both.num_expert_layers)
    every = both.self_attn_every_n_layers
    return "cross" in both.attention_mode and not (every > 0 and layer % every == 0)


def _layer_folds(layer: str, reading: str) -> list[Fold]:
    return [NormFold(f"{layer}.input_layernorm", tuple(f"{layer}.self_attn.{name}_proj" for name in reading)),
            NormFold(f"{layer}.post_attention_layernorm", (f"{layer}.mlp.gate_proj", f"{layer}.mlp.up_proj")),
            LinearFold(f"{layer}.mlp.up_proj", (f"{layer}.mlp.down_proj",))]


def _role(name: str) -> Role:
    parts: dict[str, Role] = {VISION: "vision", PROJECTOR: "projector", LANGUAGE: "language", EXPERT: "dit"}
    return next((role for prefix, role in parts.items() if name.startswith(prefix)), "action_head")


def _stage(name: str) -> int:
    """Place in the forward pass of the part that a Linear belongs to."""
    order = (VISION, PROJECTOR, "model.state_proj", LANGUAGE, "model.action_in_proj", "model.action_time_mlp_in",
             "model.action_time_mlp_out", EXPERT, "model.action_out_proj")
    return next(place for place, prefix in enumerate(order) if name.startswith(prefix))
