"""What a quantizer must know of pi0 and pi0.5: roles, folds, attentions and blocks of `pi.PiNetwork`.

The expert's queries read the keys and values of the PaliGemma beside its own, in one attention. A scale of the values
would have to leave two Linears and enter two others, one of keys to leave two and enter two, so no scale moves there.
Gemma's norms multiply by 1 + weight; pi0.5's expert takes scale, shift and gate from a Linear on the flow time.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from quantizers.folds import AttentionSite, Fold, LinearFold, ModulationFold, NormFold, ValueFold
from quantizers.layout import LinearSite, Role

BOTH = "model.paligemma_with_expert"
VISION = f"{BOTH}.paligemma.model.vision_tower.vision_model.encoder.layers"
LANGUAGE = f"{BOTH}.paligemma.model.language_model.layers"
EXPERT = f"{BOTH}.gemma_expert.model.layers"
PROJECTOR = f"{BOTH}.paligemma.model.multi_modal_projector.linear"
FINAL_NORM = f"{BOTH}.gemma_expert.model.norm"


def structure(module: nn.Module) -> dict[str, Any]:
    """`linears`, `folds`, `attention`, `blocks` and `denoiser` of a `ModelLayout`."""
    both = module.model.paligemma_with_expert
    paligemma, expert = both.paligemma.model, both.gemma_expert.model
    vision = paligemma.vision_tower.vision_model.encoder.layers
    blocks = [f"{prefix}.{number}" for prefix, layers in
              ((VISION, vision), (LANGUAGE, paligemma.language_model.layers), (EXPERT, expert.layers))
              for number in range(len(layers))]
    head_dim = vision[0].self_attn.head_dim
    folds: list[Fold] = []
    attention: list[AttentionSite] = []
    for block in blocks:
        if block.startswith(VISION):
            folds += _vision_folds(block, head_dim)
            attention.append(AttentionSite(f"{block}.self_attn.q_proj", f"{block}.self_attn.k_proj", head_dim))
        else:
            folds += _gemma_folds(block, module)
    folds.append(NormFold(f"{BOTH}.paligemma.model.vision_tower.vision_model.post_layernorm", (PROJECTOR,)))
    folds.append(_norm_fold(FINAL_NORM, ("model.action_out_proj",), module))
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return {"linears": tuple(LinearSite(name, _role(name)) for name in _in_forward_order(names)),
            "folds": tuple(folds), "attention": tuple(attention), "blocks": tuple(blocks), "denoiser": "step"}


def _role(name: str) -> Role:
    if name.startswith(VISION):
        return "vision"
    if name == PROJECTOR:
        return "projector"
    if name.startswith(LANGUAGE):
        return "language"
    # What modulates the blocks, or stands around them, collapses at few bits and is a small part.
    return "dit" if name.startswith(EXPERT) and not name.endswith(".dense") else "action_head"


def _in_forward_order(names: list[str]) -> list[str]:
    """Vision, projector, language, what the expert is given, the expert, what it gives out."""
    def stage(name: str) -> int:
        places = [name.startswith(VISION), name == PROJECTOR, name.startswith(LANGUAGE), name.startswith("model.state"),
                  name.startswith("model.action_in"), "time_mlp" in name, name.startswith(EXPERT),
                  name.startswith(FINAL_NORM)]
        return next((number for number, here in enumerate(places) if here), len(places))

    return sorted(names, key=stage)


def _vision_folds(block: str, head_dim: int) -> list[Fold]:
    attention = f"{block}.self_attn"
    return [NormFold(f"{block}.layer_norm1", tuple(f"{attention}.{name}_proj" for name in "qkv")),
            ValueFold(f"{attention}.v_proj", (f"{attention}.out_proj",), head_dim),
            NormFold(f"{block}.layer_norm2", (f"{block}.mlp.fc1",))]


def _gemma_folds(block: str, module: nn.Module) -> list[Fold]:
    return [_norm_fold(f"{block}.input_layernorm", tuple(f"{block}.self_attn.{name}_proj" for name in "qkv"), module),
            _norm_fold(f"{block}.post_attention_layernorm", (f"{block}.mlp.gate_proj", f"{block}.mlp.up_proj"), module),
            LinearFold(f"{block}.mlp.up_proj", (f"{block}.mlp.down_proj",))]


def _norm_fold(name: str, consumers: tuple[str, ...], module: nn.Module) -> Fold:
    norm = module.get_submodule(name)
    if norm.dense is None:
        return NormFold(name, consumers, unit_offset=True)
    # The Linear gives scale, shift and gate, in this order; the gate acts on the residual and stays.
    return ModulationFold(f"{name}.dense", consumers, norm.dim, scale_row=0, shift_row=norm.dim)
