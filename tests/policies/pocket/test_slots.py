"""The training's shorter way to the slots is the policy's own."""

from __future__ import annotations

import torch

from policies.pocket.frames import Frames
from policies.pocket.model import CHUNK, PocketOFTNet
from policies.pocket.slots import slot_states


def test_states_and_gradients_at_the_slots_are_those_of_the_whole_context(folder, configs):
    torch.manual_seed(0)
    module = PocketOFTNet(configs["oft"])
    frames = Frames([folder], 0)
    inputs = frames.batch(torch.arange(len(frames)).repeat(2)).inputs()
    assert len(torch.unique(inputs["words"], dim=0)) > 1
    found = []
    for states in (module.context(**inputs)[:, -CHUNK:], slot_states(module, **inputs)):
        module.zero_grad()
        (states * torch.linspace(-1, 1, states.shape[-1])).pow(2).sum().backward()
        gradients = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
        found.append((states.detach(), gradients))
    (whole, expected), (short, actual) = found
    torch.testing.assert_close(short, whole)
    assert expected.keys() == actual.keys()
    for name, gradient in expected.items():
        assert (actual[name] - gradient).norm() <= 1e-4 * gradient.norm(), name
