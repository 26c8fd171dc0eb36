"""A tiny diffusion head with everything that methods for such heads must know: steps, attention, modulation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from quantizers.calibration import CalibrationSet
from quantizers.folds import AttentionSite, ValueFold
from quantizers.layout import LinearSite, ModelLayout

WIDTH, HEADS, TOKENS, STEPS = 16, 2, 3, 4


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.to_q, self.to_k, self.to_v))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Denoiser(nn.Module):
    """One block whose inputs grow with the flow time."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        x = x * (1 + 4 * time[:, None, None])
        x = x + self.attention(x)
        return x + self.fc2(F.gelu(self.fc1(x)))


class Network(nn.Module):
    """float[B, T, E] of noise to actions float[B, T, E] in `STEPS` steps."""

    def __init__(self) -> None:
        super().__init__()
        self.language, self.dit = nn.Linear(WIDTH, WIDTH), Denoiser()

    def forward(self, noise: torch.Tensor, steps: int = STEPS) -> torch.Tensor:
        x = noise + self.language(noise.mean(dim=1, keepdim=True))
        for step in range(steps):
            x = x + self.dit(x, torch.full((len(x),), step / steps)) / steps
        return x


def build(samples: int = 16) -> tuple[Network, ModelLayout, CalibrationSet]:
    """The network with random weights, its layout and a calibration set in two batches."""
    torch.manual_seed(0)
    network = Network().eval()
    inner = "dit.attention"
    sites = [LinearSite("language", "language")]
    sites += [LinearSite(name, "dit") for name in (f"{inner}.to_q", f"{inner}.to_k", f"{inner}.to_v", f"{inner}.to_out",
                                                   "dit.fc1", "dit.fc2")]
    layout = ModelLayout(
        tuple(sites), _forward, (ValueFold(f"{inner}.to_v", (f"{inner}.to_out",), WIDTH // HEADS),),
        (AttentionSite(f"{inner}.to_q", f"{inner}.to_k", WIDTH // HEADS),), ("dit",), "dit")
    half = samples // 2
    return network, layout, CalibrationSet.of([{"noise": torch.randn(half, TOKENS, WIDTH)} for _ in range(2)])


def _forward(module: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return module(batch["noise"])
