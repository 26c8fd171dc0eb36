"""What a quantizer must know of OpenVLA's networks: roles, where scales can move, attention, blocks."""

from __future__ import annotations

from typing import Any

from torch import nn

from policies.openvla.network import Backbone
from policies.openvla.tower import Tower
from policies.pocket.folds import decoder_structure
from quantizers.folds import NormFold
from quantizers.layout import LinearSite, Role

ROLES: tuple[tuple[str, Role], ...] = (
    ("vision_backbone.", "vision"), ("projector.", "projector"), ("proprio_projector.", "projector"),
    ("language_model.model.", "language"), ("language_model.lm_head", "lm_head"), ("action_", "action_head"),
)
"""Beginning of a Linear's name -> role, in the order of the forward pass."""


def sites(module: nn.Module) -> tuple[LinearSite, ...]:
    """Every Linear with its role, in the order of the forward pass."""
    names = [name for name, child in module.named_modules() if isinstance(child, nn.Linear)]
    return tuple(LinearSite(name, role) for prefix, role in ROLES for name in names if name.startswith(prefix))


def structure(module: Backbone) -> dict[str, tuple[Any, ...]]:
    """The `folds`, `attention` and `blocks` of `quantizers.layout.ModelLayout`.

    The towers have queries, keys and values in one Linear, and GELU between the Linears of an MLP, so that scales move
    from their norms only. LayerScale comes behind what a norm feeds.
    """
    towers = module.vision_backbone
    parts = [_tower(towers.featurizer, "vision_backbone.featurizer"),
             _tower(towers.fused_featurizer, "vision_backbone.fused_featurizer"),
             decoder_structure(module.language_model.model, "language_model.model")]
    return {field: tuple(item for part in parts for item in part.get(field, ()))
            for field in ("folds", "attention", "blocks")}


def _tower(tower: Tower, name: str) -> dict[str, tuple[Any, ...]]:
    blocks = tuple(f"{name}.blocks.{index}" for index in range(len(tower.blocks)))
    folds = [NormFold(f"{block}.{norm}", (f"{block}.{reader}",))
             for block in blocks for norm, reader in (("norm1", "attn.qkv"), ("norm2", "mlp.fc1"))]
    return {"folds": tuple(folds), "blocks": blocks}
