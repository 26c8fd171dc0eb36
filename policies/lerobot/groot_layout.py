"""What a quantizer must know of GR00T N1.5: roles, folds, attentions and blocks of `groot.GrootNetwork`.

Qwen3 normalizes queries and keys of every head, so no scale moves between them; in all other attentions it does. The
norm before an attention of the diffusion transformer is modulated by the step; the one before its MLP has no weights at
all, so no scale moves there. Encoders and decoders of state and actions have a matrix per robot and are no Linears.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from quantizers.folds import AttentionSite, Fold, LinearFold, ModulationFold, NormFold, ValueFold
from quantizers.layout import LinearSite, Role

EAGLE = "model.backbone.eagle_model"
TOWER = f"{EAGLE}.vision_model.vision_model"
VISION = f"{TOWER}.encoder.layers"
PROJECTOR = f"{EAGLE}.mlp1"
LANGUAGE = f"{EAGLE}.language_model.model.layers"
WIDTH = "model.backbone.eagle_linear"
HEAD = "model.action_head"
ADAPTER = f"{HEAD}.vl_self_attention.transformer_blocks"
DIT = f"{HEAD}.model.transformer_blocks"


def structure(module: nn.Module) -> dict[str, Any]:
    """`linears`, `folds`, `attention`, `blocks` and `denoiser` of a `ModelLayout`."""
    eagle, head = module.model.backbone.eagle_model, module.model.action_head
    folds: list[Fold] = []
    sites: list[AttentionSite] = []
    blocks: list[str] = []
    for number, layer in enumerate(eagle.vision_model.vision_model.encoder.layers):
        block = f"{VISION}.{number}"
        attention = f"{block}.self_attn"
        folds += [NormFold(f"{block}.layer_norm1", tuple(f"{attention}.{name}_proj" for name in "qkv")),
                  ValueFold(f"{attention}.v_proj", (f"{attention}.out_proj",), layer.self_attn.head_dim),
                  NormFold(f"{block}.layer_norm2", (f"{block}.mlp.fc1",))]
        sites.append(AttentionSite(f"{attention}.q_proj", f"{attention}.k_proj", layer.self_attn.head_dim))
        blocks.append(block)
    folds += _projector_folds(eagle)
    for number, layer in enumerate(eagle.language_model.model.layers):
        block = f"{LANGUAGE}.{number}"
        folds += _language_folds(block, layer.self_attn)
        blocks.append(block)
    adapters = getattr(head.vl_self_attention, "transformer_blocks", ())
    for prefix, layers in ((ADAPTER, adapters), (DIT, head.model.transformer_blocks)):
        for number, layer in enumerate(layers):
            block = f"{prefix}.{number}"
            head_dim = layer.attn1.inner_dim // layer.attn1.heads
            folds += _block_folds(block, layer, head_dim)
            sites.append(AttentionSite(f"{block}.attn1.to_q", f"{block}.attn1.to_k", head_dim))
            blocks.append(block)
    # Here the Linear gives the shift first.
    width = head.model.inner_dim
    folds.append(ModulationFold(f"{HEAD}.model.proj_out_1", (f"{HEAD}.model.proj_out_2",), width, width, 0))
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return {"linears": tuple(LinearSite(name, _role(name)) for name in sorted(names, key=_stage)),
            "folds": tuple(folds), "attention": tuple(sites), "blocks": tuple(blocks), "denoiser": "step"}


def _projector_folds(eagle: nn.Module) -> list[Fold]:
    if isinstance(eagle.mlp1[0], nn.LayerNorm):
        return [NormFold(f"{PROJECTOR}.0", (f"{PROJECTOR}.1",))]
    if eagle.use_pixel_shuffle or eagle.select_layer != -1:
        return []  # a channel reaches four columns, or a layer before the last norm is read
    return [NormFold(f"{TOWER}.post_layernorm", (f"{PROJECTOR}.0",))]


def _language_folds(block: str, attention: nn.Module) -> list[Fold]:
    name = f"{block}.self_attn"
    return [NormFold(f"{block}.input_layernorm", tuple(f"{name}.{part}_proj" for part in "qkv")),
            ValueFold(f"{name}.v_proj", (f"{name}.o_proj",), attention.head_dim, attention.num_key_value_groups),
            NormFold(f"{block}.post_attention_layernorm", (f"{block}.mlp.gate_proj", f"{block}.mlp.up_proj")),
            LinearFold(f"{block}.mlp.up_proj", (f"{block}.mlp.down_proj",))]


def _block_folds(block: str, layer: nn.Module, head_dim: int) -> list[Fold]:
    attention = f"{block}.attn1"
    crossing = layer.cross_attention_dim is not None
    readers = tuple(f"{attention}.{name}" for name in (("to_q",) if crossing else ("to_q", "to_k", "to_v")))
    folds: list[Fold] = [ValueFold(f"{attention}.to_v", (f"{attention}.to_out.0",), head_dim)]
    if layer.norm_type == "ada_norm":
        folds.append(ModulationFold(f"{block}.norm1.linear", readers, layer.dim, scale_row=0, shift_row=layer.dim))
    elif layer.norm_elementwise_affine:
        folds.append(NormFold(f"{block}.norm1", readers))
    if layer.norm_elementwise_affine:
        folds.append(NormFold(f"{block}.norm3", (f"{block}.ff.net.0.proj",)))
    return folds


def _role(name: str) -> Role:
    parts: dict[str, Role] = {VISION: "vision", PROJECTOR: "projector", LANGUAGE: "language", WIDTH: "projector"}
    if name.startswith(DIT):
        # What modulates the blocks, or stands around them, collapses at few bits and is a small part.
        return "action_head" if name.endswith(".norm1.linear") else "dit"
    return next((role for prefix, role in parts.items() if name.startswith(prefix)), "action_head")


def _stage(name: str) -> int:
    """Place in the forward pass of the part that a Linear belongs to."""
    order = (VISION, PROJECTOR, LANGUAGE, WIDTH, ADAPTER, f"{HEAD}.model.timestep_encoder", DIT,
             f"{HEAD}.model.proj_out_1", f"{HEAD}.model.proj_out_2")
    return next(place for place, prefix in enumerate(order) if name.startswith(prefix))
