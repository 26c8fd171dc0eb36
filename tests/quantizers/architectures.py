"""Tiny networks with the structures that folds must know: Llama, Gemma, AdaLN, LayerScale, grouped-query attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from quantizers.calibration import CalibrationSet
from quantizers.folds import AttentionSite, LinearFold, ModulationFold, NormFold, ValueFold
from quantizers.layout import LinearSite, ModelLayout

WIDTH, HIDDEN, HEAD, TOKENS = 32, 64, 8, 5


class RMSNorm(nn.Module):
    """`x / rms(x) * (offset + weight)`; Gemma's offset is 1."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.weight, self.offset = nn.Parameter(torch.rand(WIDTH) + 0.5 - offset), offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.square().mean(-1, keepdim=True).add(1e-6).rsqrt() * (self.offset + self.weight)


def rotated(x: torch.Tensor, rotary: str) -> torch.Tensor:
    """Queries or keys float[B, h, T, d] turned by their positions."""
    angle = torch.arange(x.shape[2]).unsqueeze(1) * 0.7 ** torch.arange(HEAD // 2)
    cos, sin = angle.cos(), angle.sin()
    first, second = (x[..., : HEAD // 2], x[..., HEAD // 2 :]) if rotary == "halves" else (x[..., ::2], x[..., 1::2])
    turned = (first * cos - second * sin, first * sin + second * cos)
    return torch.cat(turned, -1) if rotary == "halves" else torch.stack(turned, -1).flatten(-2)


class Block(nn.Module):
    """Attention and gated MLP; `norm` is rms, gemma, layer or ada."""

    def __init__(self, norm: str, repeats: int, rotary: str, biased: bool) -> None:
        super().__init__()
        self.kind, self.repeats, self.rotary = norm, repeats, rotary
        make = {"rms": lambda: RMSNorm(0.0), "gemma": lambda: RMSNorm(1.0), "layer": lambda: nn.LayerNorm(WIDTH),
                "ada": lambda: nn.LayerNorm(WIDTH, elementwise_affine=False)}[norm]
        self.norm1, self.norm2 = make(), make()
        self.q = nn.Linear(WIDTH, WIDTH, bias=biased)
        self.k, self.v = (nn.Linear(WIDTH, WIDTH // repeats, bias=biased) for _ in range(2))
        self.o, self.down = nn.Linear(WIDTH, WIDTH, bias=biased), nn.Linear(HIDDEN, WIDTH, bias=biased)
        self.gate, self.up = nn.Linear(WIDTH, HIDDEN, bias=biased), nn.Linear(WIDTH, HIDDEN, bias=biased)
        self.layer_scale = nn.Parameter(torch.rand(WIDTH) + 0.5)
        self.modulation = nn.Linear(WIDTH, 4 * WIDTH) if norm == "ada" else None
        if norm == "layer":
            for part in (self.norm1, self.norm2):
                nn.init.normal_(part.weight, 1.0, 0.2)
                nn.init.normal_(part.bias, 0.0, 0.2)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor]:
        h1, h2 = self.norm1, self.norm2
        if self.modulation is not None:
            a1, b1, a2, b2 = self.modulation(condition).unsqueeze(1).chunk(4, dim=-1)
            h1, h2 = (lambda y: self.norm1(y) * (1 + a1) + b1), (lambda y: self.norm2(y) * (1 + a2) + b2)
        h = h1(x)
        q, k, v = (y.unflatten(-1, (-1, HEAD)).transpose(1, 2) for y in (self.q(h), self.k(h), self.v(h)))
        if self.rotary != "none":
            q, k = rotated(q, self.rotary), rotated(k, self.rotary)
        seen = F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2)
        x = x + self.layer_scale * self.o(seen)
        h = h2(x)
        return (x + self.down(F.silu(self.gate(h)) * self.up(h)),)


class Network(nn.Module):
    def __init__(self, norm: str = "rms", repeats: int = 1, rotary: str = "halves", biased: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(11, WIDTH)
        self.blocks = nn.ModuleList(Block(norm, repeats, rotary, biased) for _ in range(2))
        self.head = nn.Linear(WIDTH, 6)

    def forward(self, words: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        x = self.words(words)
        for block in self.blocks:
            (x,) = block(x, condition)
        return self.head(x.mean(dim=1)).unflatten(-1, (2, 3))


KINDS: Mapping[str, tuple[str, int, str, bool]] = {
    "llama": ("rms", 1, "halves", False),
    "llama with shared heads": ("rms", 2, "halves", False),
    "gemma": ("gemma", 4, "pairs", False),
    "vit with layer scale": ("layer", 1, "none", True),
    "modulated": ("ada", 1, "none", True),
}
"""Name -> norm, query heads per key head, rotary, biases."""


def build(kind: str, seed: int = 0) -> tuple[Network, ModelLayout, CalibrationSet]:
    """A network of this kind with an outlier channel, its layout, and twelve samples."""
    torch.manual_seed(seed)
    norm, repeats, rotary, biased = KINDS[kind]
    network = Network(norm, repeats, rotary, biased).eval()
    folds, attention = [], []
    for i in range(2):
        name = f"blocks.{i}"
        first, second = (f"{name}.q", f"{name}.k", f"{name}.v"), (f"{name}.gate", f"{name}.up")
        if norm == "ada":
            modulation = f"{name}.modulation"
            folds += [ModulationFold(modulation, first, WIDTH, 0, WIDTH),
                      ModulationFold(modulation, second, WIDTH, 2 * WIDTH, 3 * WIDTH)]
        else:
            offset = norm == "gemma"
            folds += [NormFold(f"{name}.norm1", first, offset), NormFold(f"{name}.norm2", second, offset)]
        folds += [ValueFold(f"{name}.v", (f"{name}.o",), HEAD, repeats), LinearFold(f"{name}.up", (f"{name}.down",))]
        attention.append(AttentionSite(f"{name}.q", f"{name}.k", HEAD, repeats, rotary))
    names = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    roles = {"head": "action_head"}
    sites = tuple(
        LinearSite(name, "action_head" if "modulation" in name else roles.get(name, "language")) for name in names
    )
    layout = ModelLayout(sites, lambda module, batch: module(batch["words"], batch["condition"]),
                         tuple(folds), tuple(attention), ("blocks.0", "blocks.1"))
    batches = [{"words": torch.randint(0, 11, (6, TOKENS)), "condition": torch.randn(6, WIDTH)} for _ in range(2)]
    return network, layout, CalibrationSet.of(batches)
