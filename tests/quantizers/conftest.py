"""A small network with the parts of a policy: patch convolution, grouped-query attention, gated MLP, action head."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quantizers.calibration import CalibrationSet
from quantizers.folds import AttentionSite, LinearFold, NormFold, ValueFold
from quantizers.layout import LinearSite, ModelLayout

WIDTH, HIDDEN, HEAD = 24, 40, 6


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.q, self.k, self.v = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH // 2), nn.Linear(WIDTH, WIDTH // 2)
        self.o = nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate, self.up = nn.Linear(WIDTH, HIDDEN), nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        q, k, v = (y.unflatten(-1, (-1, HEAD)).transpose(1, 2) for y in (self.q(h), self.k(h), self.v(h)))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2))
        return x + self.down(F.silu(self.gate(x), inplace=True) * self.up(x))


class SmallPolicy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 4, 4)
        self.vision = nn.Linear(WIDTH, WIDTH)
        self.projector = nn.Linear(WIDTH, WIDTH)
        self.words = nn.Embedding(10, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.unused = nn.Linear(WIDTH, 5)
        self.head = nn.Linear(WIDTH, 6)
        self.register_buffer("table", torch.zeros(7), persistent=False)

    def forward(self, image: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        patches = self.patch(image).flatten(2).transpose(1, 2)
        # The tower sees samples times tokens, as flattened implementations do.
        patches = self.vision(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        x = torch.cat([self.projector(F.gelu(patches)), self.words(words)], dim=1)
        for block in self.blocks:
            x = block(x)
        self.unused(x)
        return self.head(x.mean(dim=1)).unflatten(-1, (2, 3))


def run(module: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return module(batch["image"], batch["words"])


def role(name: str) -> str:
    if name.startswith(("blocks", "unused")):
        return "language"
    return {"head": "action_head"}.get(name, name)


@pytest.fixture(autouse=True)
def one_seed() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def policy() -> SmallPolicy:
    return SmallPolicy().eval()


@pytest.fixture
def layout(policy: SmallPolicy) -> ModelLayout:
    names = [name for name, part in policy.named_modules() if isinstance(part, nn.Linear)]
    folds, attention = [], []
    for block in ("blocks.0", "blocks.1"):
        folds += [
            NormFold(f"{block}.norm", (f"{block}.q", f"{block}.k", f"{block}.v")),
            ValueFold(f"{block}.v", (f"{block}.o",), HEAD, repeats=2),
            LinearFold(f"{block}.up", (f"{block}.down",)),
        ]
        attention.append(AttentionSite(f"{block}.q", f"{block}.k", HEAD, repeats=2))
    sites = tuple(LinearSite(name, role(name)) for name in names)
    return ModelLayout(sites, run, tuple(folds), tuple(attention), ("blocks.0", "blocks.1"))


@pytest.fixture
def calibration() -> CalibrationSet:
    batches = [{"image": torch.randn(5, 3, 8, 8), "words": torch.randint(0, 10, (5, 3))} for _ in range(2)]
    return CalibrationSet.of(batches, episodes=["demo-0", "demo-1"])
