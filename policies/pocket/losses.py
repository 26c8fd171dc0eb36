"""What each head is trained to do, and how far its own answers are from the expert's.

Every loss takes the network, the arguments of `Backbone.embed`, the expert's chunks float[B, H, 7], and `context`, the
decoder's states if they are known already. It returns the loss and the states at the slots float[B, H, D], from which
the auxiliary head reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

from policies.pocket.autoregressive import BINS, PocketTokenNet, from_bins, mean_action, to_bins
from policies.pocket.diffusion import PocketFlowNet
from policies.pocket.model import ACTION_DIM, CHUNK, Backbone, PocketOFTNet
from policies.pocket.slots import slot_states

Inputs = Mapping[str, torch.Tensor]
Loss = Callable[..., tuple[torch.Tensor, torch.Tensor]]

DRAWS = 4
"""Noises and times per sample and step of flow matching: the transformer costs little beside the backbone."""
LATEST = 0.999
"""Flow times are drawn below this one."""
BELL = 4.0
"""Standard deviation, in bins, of what a token is asked for: a 64th of the range of an action."""
BELLS = (-0.5 * ((torch.arange(BINS)[:, None] - torch.arange(BINS)) / BELL).square()).softmax(1)
"""float[256, 256], true bin -> probabilities of the bins."""


def distance(actions: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
    """L1 of actions float[B, H, 7]; the gripper counts half of the mean over the others."""
    error = (actions.float() - chunks).abs()
    return error[..., : ACTION_DIM - 1].mean() + 0.5 * error[..., -1].mean()


def oft(module: PocketOFTNet, inputs: Inputs, chunks: torch.Tensor, generator: torch.Generator,
        context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """L1 on the chunk (OpenVLA-OFT, Kim et al. 2025)."""
    slots = slot_states(module, **inputs) if context is None else context[:, -CHUNK:]
    return distance(module.action_head(slots), chunks), slots


def token(module: PocketTokenNet, inputs: Inputs, chunks: torch.Tensor, generator: torch.Generator,
          context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy on the bins of the chunk under teacher forcing, and L1 of the mean action.

    What is asked for is a bell over the bins around the true one (Imani and White 2018): the likeliest bin of a network
    that learns bells is where most of the expert's answers lie, of one that learns single bins any of a few that
    happen to be frequent. Raises ValueError for a given `context`: the decoder itself speaks, so that it cannot be left
    out.
    """
    if context is not None:
        raise ValueError("head 'token' has no part outside of the backbone; train it without --freeze")
    bins = to_bins(chunks)
    logits, slots = module.taught(**inputs, bins=bins)
    likelihood = logits.float().log_softmax(-1)[..., -BINS:]
    entropy = -(BELLS.to(bins.device)[bins] * likelihood).sum(-1).mean()
    return entropy + distance(mean_action(logits), chunks), slots


def flow(module: PocketFlowNet, inputs: Inputs, chunks: torch.Tensor, generator: torch.Generator,
         context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Flow matching: squared error of the velocity, times drawn towards the noise as in pi0 (Black et al. 2024)."""
    context = module.context(**inputs) if context is None else context
    target = ((chunks - module.action_mean) / module.action_scale).repeat_interleave(DRAWS, 0)
    noise = torch.randn(target.shape, generator=generator).to(target.device)
    # u^(2/3) has the density Beta(1.5, 1), which favours 1, the noise.
    noisiness = torch.rand(len(target), generator=generator).pow(2 / 3).to(target.device)
    time = LATEST * (1.0 - noisiness)
    noisy = noise + time[:, None, None] * (target - noise)
    state = inputs["state"].repeat_interleave(DRAWS, 0)
    velocity = module.velocity(noisy, time, state, context)
    return F.mse_loss(velocity.float(), target - noise), context[:, -CHUNK:]


LOSSES: Mapping[str, Loss] = {"oft": oft, "token": token, "flow": flow}
"""Head -> loss."""


def answers(head: str, module: Backbone, inputs: Inputs, generator: torch.Generator) -> torch.Tensor:
    """float[B, H, 7], what the policy would do, before it is made legal."""
    if head == "token":
        return from_bins(module.generate(**inputs))
    if head == "flow":
        noise = torch.randn((len(inputs["state"]), CHUNK, ACTION_DIM), generator=generator)
        return module(**inputs, noise=noise.to(inputs["state"].device)).float()
    return module(**inputs).float()
