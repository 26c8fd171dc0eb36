from __future__ import annotations

import time

import pytest
import torch

from bench.timing.cpu import CpuProbe
from bench.timing.stages import STAGES, WARMUP, alone_bytes, stage_times


class Slow(torch.nn.Module):
    """Spends so many seconds in its child, whichever method is called."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.child, self.seconds = torch.nn.Identity(), seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.child(x)
        time.sleep(self.seconds)
        return self.child(x)

    generate = forward


@pytest.mark.parametrize("method", ["__call__", "generate"])
def test_the_borders_are_the_first_entry_into_the_network_and_the_last_exit(method):
    network, calls = Slow(0.02), []

    def step(value: int) -> None:
        calls.append(value)
        time.sleep(0.01)
        getattr(network, method)(torch.ones(1))
        time.sleep(0.005)

    samples = stage_times(CpuProbe(), network, step, [0, 1])
    assert set(samples) == {f"{stage}_ms" for stage in STAGES} and len(calls) == WARMUP + 2
    for stage, least_ms in zip(STAGES, (10, 20, 5), strict=True):
        assert len(samples[f"{stage}_ms"]) == 2 and min(samples[f"{stage}_ms"]) >= least_ms
    assert not network._forward_hooks and not network.child._forward_hooks


class Card:
    """What a card's probe tells of memory."""

    device, torch_device = "card", "cpu"

    def __init__(self, memory: dict) -> None:
        self.memory = memory

    def watch(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.done = list(self.calls)

    def to_json(self):
        return {"memory": self.memory}


def test_the_memory_of_a_policy_is_what_came_on_top_of_what_was_there():
    card = Card({"allocated_before_bytes": 100, "peak_allocated_bytes": 350})
    card.calls = []
    assert alone_bytes(card, lambda: card.calls.append("place"), lambda: card.calls.append("step")) == {"bytes": 250}
    assert card.done == ["place", "step"]
    assert "no memory of its own" in alone_bytes(CpuProbe(), lambda: None, lambda: None)["reason"]
