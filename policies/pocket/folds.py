"""Where scales can move in the ViT and the decoder that the pocket policies share; see `quantizers.folds`."""

from __future__ import annotations

from typing import Any

from transformers import LlamaModel
from transformers.models.dinov2.modeling_dinov2 import Dinov2Encoder

from quantizers.folds import AttentionSite, LinearFold, NormFold, ValueFold


def vit_structure(encoder: Dinov2Encoder, prefix: str) -> dict[str, tuple[Any, ...]]:
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


def decoder_structure(decoder: LlamaModel, prefix: str) -> dict[str, tuple[Any, ...]]:
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


def shared_structure(vision: Dinov2Encoder, decoder: LlamaModel) -> dict[str, tuple[Any, ...]]:
    """Both, under the names that every pocket network gives them."""
    parts = (vit_structure(vision, "vision.encoder"), decoder_structure(decoder, "language"))
    return {field: parts[0][field] + parts[1][field] for field in parts[0]}
