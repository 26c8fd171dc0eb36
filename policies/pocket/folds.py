"""Where scales can move in the pocket networks; see `quantizers.folds`."""

from __future__ import annotations

from itertools import chain
from typing import Any

from transformers import LlamaModel
from transformers.models.dinov2.modeling_dinov2 import Dinov2Encoder

from policies.pocket.diffusion import DiT, PocketFlowNet
from policies.pocket.model import Backbone
from quantizers.folds import AttentionSite, LinearFold, ModulationFold, NormFold, ValueFold

Structure = dict[str, tuple[Any, ...]]
"""Fields of `quantizers.layout.ModelLayout` by name."""


def vit_structure(encoder: Dinov2Encoder, prefix: str) -> Structure:
    """The `folds`, `attention` and `blocks` of a DINOv2 encoder that the module calls `prefix`.

    LayerScale comes behind `o_proj` and `fc2`, so it is in nobody's way. GELU lets no scale through to `fc2`.
    """
    folds, attention, blocks = [], [], []
    for index, layer in enumerate(encoder.layer):
        name = f"{prefix}.layer.{index}"
        inner, head_dim = f"{name}.attention", layer.attention.head_dim
        folds += [
            NormFold(f"{name}.norm1", (f"{inner}.q_proj", f"{inner}.k_proj", f"{inner}.v_proj")),
            ValueFold(f"{inner}.v_proj", (f"{inner}.o_proj",), head_dim),
            NormFold(f"{name}.norm2", (f"{name}.mlp.fc1",)),
        ]
        attention.append(AttentionSite(f"{inner}.q_proj", f"{inner}.k_proj", head_dim))
        blocks.append(name)
    return {"folds": tuple(folds), "attention": tuple(attention), "blocks": tuple(blocks)}


def decoder_structure(decoder: LlamaModel, prefix: str) -> Structure:
    """The same of a Llama decoder: RMSNorm, rotary halves, grouped-query attention, SwiGLU."""
    folds, attention, blocks = [], [], []
    for index, layer in enumerate(decoder.layers):
        name = f"{prefix}.layers.{index}"
        inner, mlp = f"{name}.self_attn", f"{name}.mlp"
        head_dim, repeats = layer.self_attn.head_dim, layer.self_attn.num_key_value_groups
        folds += [
            NormFold(f"{name}.input_layernorm", (f"{inner}.q_proj", f"{inner}.k_proj", f"{inner}.v_proj")),
            ValueFold(f"{inner}.v_proj", (f"{inner}.o_proj",), head_dim, repeats),
            NormFold(f"{name}.post_attention_layernorm", (f"{mlp}.gate_proj", f"{mlp}.up_proj")),
            LinearFold(f"{mlp}.up_proj", (f"{mlp}.down_proj",)),
        ]
        attention.append(AttentionSite(f"{inner}.q_proj", f"{inner}.k_proj", head_dim, repeats, "halves"))
        blocks.append(name)
    return {"folds": tuple(folds), "attention": tuple(attention), "blocks": tuple(blocks)}


def dit_structure(dit: DiT, prefix: str) -> Structure:
    """The same of a diffusion transformer: AdaLN, cross-attention in turns with self-attention.

    The decoder's states that keys and values of cross-attention read come from a norm that several blocks share, so no
    scale moves there.
    """
    folds, attention, blocks = [], [], []
    for index, block in enumerate(dit.blocks):
        name = f"{prefix}.blocks.{index}"
        inner, width = f"{name}.attention", block.norm1.linear.in_features
        head_dim = width // block.attention.heads
        queries = (f"{inner}.to_q",)
        readers = queries if block.cross else (*queries, f"{inner}.to_k", f"{inner}.to_v")
        folds += [
            ModulationFold(f"{name}.norm1.linear", readers, width, 0, width),
            ValueFold(f"{inner}.to_v", (f"{inner}.to_out",), head_dim),
            ModulationFold(f"{name}.norm2.linear", (f"{name}.mlp.fc1",), width, 0, width),
        ]
        attention.append(AttentionSite(*queries, f"{inner}.to_k", head_dim))
        blocks.append(name)
    return {"folds": tuple(folds), "attention": tuple(attention), "blocks": tuple(blocks)}


def structure(module: Backbone) -> Structure:
    """Of a whole pocket network."""
    parts = [vit_structure(module.vision.encoder, "vision.encoder"), decoder_structure(module.language, "language")]
    if isinstance(module, PocketFlowNet):
        parts.append(dit_structure(module.dit, "dit"))
    return {field: tuple(chain.from_iterable(part[field] for part in parts)) for field in parts[0]}
