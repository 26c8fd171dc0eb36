"""What quantizing takes beside the network: never so much that a network which just fits a machine cannot be packed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from quantizers import parts
from quantizers.calibration import CalibrationSet
from quantizers.folds import LinearFold, NormFold
from quantizers.layout import LinearSite, ModelLayout
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from tests.quantizers.live import LiveBytes

BLOCKS, WIDTH = 24, 192
MOST = 1.8
METHODS = {"rtn:w8a8": MOST, "smoothquant:alphas=0.5/0.8": MOST, "awq:w4,group=32,ratios=3,clip_steps=2": MOST,
           "gptq": MOST, "qvla:clip=absmax,probes=1,check_channels=2": 1.5,
           "quantvla:block=16,temperature=false,balance=false": MOST, "omniquant:epochs=1": MOST}
"""Method -> bytes of tensors that live at once over those of the network. One layer in float32 is 4 % of it here, where
it is at most 1 % of a network of 7 billion weights; the methods that kept a copy or all layers' candidates took 2.4 to
21."""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Deep(nn.Module):
    """Many small blocks, so that what one of them takes is a small share, as in a network of billions of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.head = nn.Linear(WIDTH, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x).unflatten(-1, (2, 3)).float()


def deep() -> tuple[Deep, ModelLayout, CalibrationSet]:
    torch.manual_seed(0)
    network = Deep().bfloat16().eval()
    names = [f"blocks.{i}" for i in range(BLOCKS)]
    folds = tuple(fold for name in names for fold in (NormFold(f"{name}.norm", (f"{name}.up",)),
                                                      LinearFold(f"{name}.up", (f"{name}.down",))))
    sites = tuple(LinearSite(name, "action_head" if name == "head" else "language")
                  for name, part in network.named_modules() if isinstance(part, nn.Linear))
    layout = ModelLayout(sites, lambda module, batch: module(batch["x"]), folds, (), tuple(names))
    return network, layout, CalibrationSet.of([{"x": torch.randn(8, WIDTH).bfloat16()}])


@pytest.mark.parametrize("method", METHODS)
def test_what_is_made_of_a_network_is_never_held_beside_all_of_it(method, monkeypatch):
    monkeypatch.setattr(parts, "WHOLE_BYTES", 0)
    monkeypatch.setattr(parts, "LEAST_BYTES", 1 << 18)
    monkeypatch.setattr("quantizers.candidates._AT_ONCE", 3 * WIDTH // 2)
    network, layout, calibration = deep()
    with LiveBytes(network) as live:
        audit = quantize_(network, layout, parse_method(method), calibration)
    assert sum(layer.status == "quantized" for layer in audit.layers) == 2 * BLOCKS
    assert live.peak <= METHODS[method] * live.own
    assert live.now < 0.8 * live.own
