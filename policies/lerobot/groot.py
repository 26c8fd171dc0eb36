"""The network of GR00T N1.5 in LeRobot's classes, as one module that turns noise into a chunk and can be quantized.

An Eagle 2 (SigLIP, one Linear, the first layers of a Qwen3) reads pictures and words once; four blocks of
self-attention adapt what it says. A diffusion transformer reads state, learnt tokens and noisy actions at every step;
its even blocks attend to the former, its odd ones to their own tokens (NVIDIA 2025, arXiv 2503.14734; N1.5: its card).

LeRobot 0.5.1 builds it with FlashAttention 2 only, and runs code out of a folder that it downloads. Here its classes
are built one by one around PyTorch's own attention, which computes the same. LeRobot lets attention see the padding of
a batch; here a mask hides it, so a row answers as it does alone. Without padding tests hold both equal.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lerobot.policies.groot.action_head.flow_matching_action_head import (
    FlowmatchingActionHead,
    FlowmatchingActionHeadConfig,
)
from lerobot.policies.groot.eagle2_hg_model.configuration_eagle2_5_vl import Eagle25VLConfig
from lerobot.policies.groot.eagle2_hg_model.modeling_eagle2_5_vl import Eagle25VLForConditionalGeneration
from lerobot.policies.groot.groot_n1 import GR00TN15, EagleBackbone, GR00TN15Config
from lerobot.policies.groot.modeling_groot import GrootPolicy
from torch import nn
from torch.distributions import Distribution
from transformers import PreTrainedModel, Qwen3ForCausalLM, SiglipVisionModel
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

ATTENTION = "sdpa"
"""Attention implementation of the Eagle."""
LANGUAGE = "Qwen3ForCausalLM"
"""The language model of N1.5, as its config names it."""


class TimeEncoder(nn.Module):
    """LeRobot's embedding of the step, which asks its weights for their type; quantized ones have none."""

    def __init__(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.time_proj, self.timestep_embedder, self._dtype = encoder.time_proj, encoder.timestep_embedder, dtype

    def forward(self, ticks: torch.Tensor) -> torch.Tensor:
        """float[B, D] of int[B]."""
        return self.timestep_embedder(self.time_proj(ticks).to(self._dtype))


class GrootStep(nn.Module):
    """One denoising step. It owns nothing: hooks on it see every call with its flow time."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, ticks: torch.Tensor, network: GrootNetwork,
                context: torch.Tensor, mask: torch.Tensor | None, state: torch.Tensor,
                embodiment: torch.Tensor) -> torch.Tensor:
        """Velocity float[B, H, A] from noise to actions at the time float[B] from 0, noise, to 1, actions; `ticks`
        int[B] is the time as the network counts it."""
        return network.velocity(x, ticks, context, mask, state, embodiment)


class GrootNetwork(nn.Module):
    """LeRobot's network with its sampler; see `quantizers.layout.ModelLayout.forward`."""

    def __init__(self, model: GR00TN15, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.step, self.dtype = model, GrootStep(), dtype
        model.backbone.eagle_model.language_model.lm_head = nn.Identity()  # it is never asked for words
        model.action_head.model.timestep_encoder = TimeEncoder(model.action_head.model.timestep_encoder, dtype)

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Actions of a chunk, and numbers of an action with padding."""
        return self.model.action_horizon, self.model.action_dim

    def forward(self, images: torch.Tensor, tokens: torch.Tensor, state: torch.Tensor, embodiment: torch.Tensor,
                noise: torch.Tensor, token_masks: torch.Tensor | None = None) -> torch.Tensor:
        """The chunk float[B, H, A], normalized as the network was trained.

        `images` float[B, C, 3, S, S] in [-1, 1], `tokens` int[B, T] with places for the pictures, `state` float[B, 1,
        S], `embodiment` int[B], `noise` float[B, H, A], `token_masks` bool[B, T], false where a row is padded.
        """
        head = self.model.action_head
        mask = None if token_masks is None else token_masks[:, None]
        context = self.read(images, tokens, mask)
        known = head.state_encoder(state.to(self.dtype), embodiment)
        x, steps = noise, head.num_inference_timesteps
        for number in range(steps):
            time = torch.full((len(x),), number / steps, device=x.device)
            ticks = torch.full((len(x),), int(number / steps * head.num_timestep_buckets), device=x.device)
            x = x + self.step(x, time, ticks, self, context, mask, known, embodiment).float() / steps
        return x

    def read(self, images: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """What the actions attend to, float[B, T, D]; `mask` bool[B, 1, T]."""
        backbone, head = self.model.backbone, self.model.action_head
        eagle = backbone.eagle_model
        seen = eagle.extract_feature(images.flatten(0, 1).to(self.dtype))
        words = eagle.get_input_embeddings()(tokens)
        both = words.masked_scatter((tokens == eagle.image_token_index)[..., None], seen.to(words.dtype))
        told = eagle.language_model.model(inputs_embeds=both, use_cache=False,
                                          attention_mask=None if mask is None else mask[:, 0]).last_hidden_state
        context = head.vlln(backbone.eagle_linear(told))
        for block in getattr(head.vl_self_attention, "transformer_blocks", ()):
            context = block(context, attention_mask=mask)
        return context

    def velocity(self, x: torch.Tensor, ticks: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None,
                 state: torch.Tensor, embodiment: torch.Tensor) -> torch.Tensor:
        """float[B, H, A] at the time int[B]; `state` float[B, 1, D] is embedded."""
        head = self.model.action_head
        dit = head.model
        actions = head.action_encoder(x.to(self.dtype), ticks, embodiment)
        if head.config.add_pos_embed:
            actions = actions + head.position_embedding.weight[:actions.shape[1]]
        learnt = head.future_tokens.weight.expand(len(x), -1, -1)
        tokens, moment = torch.cat((state, learnt, actions), dim=1), dit.timestep_encoder(ticks)
        for number, block in enumerate(dit.transformer_blocks):
            if number % 2 and dit.config.interleave_self_attention:
                tokens = block(tokens, temb=moment)
            else:
                tokens = block(tokens, attention_mask=mask, encoder_hidden_states=context, temb=moment)
        shift, scale = dit.proj_out_1(F.silu(moment))[:, None].chunk(2, dim=-1)
        answer = dit.proj_out_2(dit.norm_out(tokens) * (1 + scale) + shift)
        return head.action_decoder(answer, embodiment)[:, -x.shape[1]:]


class _Backbone(EagleBackbone):
    """LeRobot's, but for how its parts are made: it asks for FlashAttention and the network."""

    def __init__(self, eagle: Mapping[str, Any], layers: int, width: int | None) -> None:
        nn.Module.__init__(self)
        config = eagle_config(eagle, layers)
        self.eagle_model = Eagle25VLForConditionalGeneration(
            config, SiglipVisionModel(config.vision_config), Qwen3ForCausalLM(config.text_config))
        self.eagle_model.mlp_checkpoint = False  # which would call layers twice where gradients are wanted
        self.eagle_linear = nn.Identity() if width is None else nn.Linear(config.text_config.hidden_size, width)
        self.select_layer, self.tune_llm, self.tune_visual = layers, False, False


class _Model(GR00TN15):
    """LeRobot's, around such a backbone."""

    def __init__(self, network: Mapping[str, Any], eagle: Mapping[str, Any]) -> None:
        PreTrainedModel.__init__(self, GR00TN15Config(**network))
        backbone = network["backbone_cfg"]
        self.backbone = _Backbone(eagle, backbone["select_layer"], backbone.get("project_to_dim", 1536))
        self.action_head = _head(network["action_head_cfg"])
        self.action_horizon, self.action_dim = network["action_horizon"], network["action_dim"]
        self.compute_dtype = "float32"


def _head(config: Mapping[str, Any]) -> FlowmatchingActionHead:
    checked = Distribution._validate_args
    Distribution.set_default_validate_args(False)  # which reads numbers, and may find none on the meta device
    try:
        head = FlowmatchingActionHead(FlowmatchingActionHeadConfig(**config))
    finally:
        Distribution.set_default_validate_args(checked)
    head.beta_dist = None  # it draws times for training
    return head


def eagle_config(eagle: Mapping[str, Any], layers: int) -> Eagle25VLConfig:
    """The Eagle's config with its first `layers` layers, and without the vision tower's pooling, which nothing reads.

    Raises ValueError for another language model or vision tower than N1.5 has.
    """
    text, vision = dict(eagle["text_config"]), dict(eagle["vision_config"])
    if LANGUAGE not in text.get("architectures", ()) or vision.get("model_type") != "siglip_vision_model":
        raise ValueError(f"GR00T N1.5 reads with SigLIP and {LANGUAGE}; this Eagle has {vision.get('model_type')} and "
                         f"{text.get('architectures')}")
    for part in (text, vision):
        for name in ("_attn_implementation", "attn_implementation", "_attn_implementation_autoset"):
            part.pop(name, None)
    text["num_hidden_layers"] = min(text["num_hidden_layers"], layers)
    if text.get("layer_types"):
        text["layer_types"] = text["layer_types"][:layers]
    rest = {name: value for name, value in eagle.items()
            if name not in ("text_config", "vision_config", "auto_map", "_attn_implementation", "attn_implementation")}
    config = Eagle25VLConfig(vision | {"vision_use_head": False}, text, _attn_implementation=ATTENTION, **rest)
    config.vision_config._attn_implementation = config.text_config._attn_implementation = ATTENTION
    return config


def build(kind: str, config: Any, sizes: Mapping[str, Any] | None) -> tuple[Any, GrootNetwork]:
    """LeRobot's policy of this config and the network in it, with whatever is in memory for weights.

    `sizes` has the config of the base model as `network` and that of its Eagle as `eagle`. Weights have 16 bits if the
    config says `use_bf16`. Raises ValueError for sizes of another network.
    """
    missing = [name for name in ("network", "eagle") if not (sizes or {}).get(name)]
    if missing:
        raise ValueError(f"the sizes of GR00T's network lack {', '.join(missing)}")
    head = sizes["network"]["action_head_cfg"]
    if any((head.get(part) or {}).get("positional_embeddings", "sinusoidal") is not None
           for part in ("diffusion_model_cfg", "vl_self_attention_cfg")):
        raise ValueError("GR00T N1.5 adds no positions inside its blocks; this config does")

    class Policy(GrootPolicy):
        def _create_groot_model(self) -> _Model:
            names = ("backbone_cfg", "action_head_cfg", "action_horizon", "action_dim")
            return _Model({name: sizes["network"][name] for name in names}, sizes["eagle"])

    dtype = torch.bfloat16 if config.use_bf16 else torch.float32
    with torch.device("meta"), contextlib.redirect_stdout(io.StringIO()):  # LeRobot prints its settings
        policy = Policy(config)
    model = policy._groot_model.to(dtype).to_empty(device="cpu")
    eagle = model.backbone.eagle_model
    language, places = eagle.language_model, eagle.vision_model.vision_model.embeddings
    language.model.rotary_emb = Qwen3RotaryEmbedding(language.config)
    places.position_ids = torch.arange(places.num_positions).expand((1, -1))
    policy.eval().requires_grad_(False)
    return policy, GrootNetwork(model, dtype).eval()
