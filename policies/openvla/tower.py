"""The vision towers of OpenVLA: plain ViTs under timm's parameter names, read before their last block.

Both towers of a Prismatic network (Karamcheti et al. 2024, arXiv 2402.07865; Kim et al. 2024, arXiv 2406.09246) give
the patch tokens of their last block but one, unnormalized. What lies behind that block (the last block, the final norm,
SigLIP's pooling head) is in every checkpoint and is never computed; here it is checked for when a checkpoint is read,
and then left out. Axis letters: B batch, S pixels, P patches, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

EPSILON = 1e-6
"""Of the LayerNorms, as in timm's ViTs."""


@dataclass(frozen=True)
class TowerConfig:
    """Sizes of a tower."""

    width: int
    """Width of the tokens."""
    depth: int
    """Blocks in the checkpoint; one less is computed."""
    heads: int
    """Attention heads."""
    mlp: int
    """Inner width of the MLPs."""
    patch: int
    """Side of a patch, pixels."""
    image_size: int
    """Side of the square picture, pixels."""
    registers: int
    """Register tokens; a class token is before them if there are any."""
    layer_scale: bool
    """Whether what a block adds is scaled by channel."""
    pooled: bool
    """Whether the checkpoint has a pooling head, which is not computed."""

    def __post_init__(self) -> None:
        for name in ("width", "heads", "mlp", "patch", "image_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of a vision tower is {getattr(self, name)}; it must be at least 1")
        if self.width % self.heads or self.image_size % self.patch or self.depth < 2:
            raise ValueError(f"a vision tower needs whole heads, whole patches and two blocks or more, got {self}")

    @property
    def patches(self) -> int:
        """Patch tokens of one picture."""
        return (self.image_size // self.patch) ** 2


TOWERS: dict[str, TowerConfig] = {
    "vit_large_patch14_reg4_dinov2.lvd142m": TowerConfig(1024, 24, 16, 4096, 14, 224, 4, True, False),
    "vit_so400m_patch14_siglip_224": TowerConfig(1152, 27, 16, 4304, 14, 224, 0, False, True),
}
"""timm's names of the towers that published checkpoints have."""


class Attention(nn.Module):
    """Self-attention with one Linear for queries, keys and values."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[B, P, D] -> float[B, P, D]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two Linears with a GELU between them."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[B, P, D] -> float[B, P, D]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Scale(nn.Module):
    """LayerScale, whose parameter the checkpoints call `scale_factor`."""

    def __init__(self, width: int):
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[..., D] -> float[..., D]."""
        return x * self.scale_factor


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=EPSILON)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=EPSILON)
        self.mlp = Mlp(config)
        self.ls1, self.ls2 = (Scale(config.width) if config.layer_scale else nn.Identity() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[B, P, D] -> float[B, P, D]."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Patches(nn.Module):
    """Patches to tokens."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, stride=config.patch)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float[B, 3, S, S] -> float[B, P, D]."""
        return self.proj(pixels).flatten(2).transpose(1, 2)


class Tower(nn.Module):
    """Normalized pixels to the patch tokens of the last block but one."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        self.config = config
        if config.registers:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
            self.reg_token = nn.Parameter(torch.zeros(1, config.registers, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.patches, config.width))
        self.patch_embed = Patches(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth - 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float[B, 3, S, S] -> float[B, P, D]."""
        x = self.patch_embed(pixels) + self.pos_embed
        if self.config.registers:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), self.reg_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return x[:, -self.config.patches:]


def unread(config: TowerConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of what the checkpoint of a tower holds although nothing is computed with it."""
    width, mlp = config.width, config.mlp
    with torch.device("meta"):
        last = Block(config)
    shapes = {f"blocks.{config.depth - 1}.{name}": tuple(tensor.shape) for name, tensor in last.state_dict().items()}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    if config.pooled:
        shapes |= {"attn_pool.latent": (1, 1, width)} | {
            f"attn_pool.{name}.{part}": (outputs, inputs) if part == "weight" else (outputs,)
            for name, outputs, inputs in (("q", width, width), ("kv", 2 * width, width), ("proj", width, width),
                                          ("mlp.fc1", mlp, width), ("mlp.fc2", width, mlp))
            for part in ("weight", "bias")}
        shapes |= {"attn_pool.norm.weight": (width,), "attn_pool.norm.bias": (width,)}
    return shapes
