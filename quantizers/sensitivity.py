"""How much the actions move when one output channel is quantized: the action-space sensitivity of QVLA.

The paper (arXiv 2602.03782) bounds the deviation of the actions A by a product of norms, ||dA|| ~ ||J|| ||dX||. Here
the inner product itself is used, which is tighter and costs the same: for a probe v in action space, one backward pass
gives g = d(v.A)/dY for the outputs Y of *all* layers at once, and quantizing channel c of a layer moves v.A by

    v.dA = sum_t g[t, c] * ((Q_b(W)_c - W_c) x_t)                     to first order.

Its square, averaged over random signs v, is ||dA||^2. With at least as many probes as there are action coordinates, the
coordinates themselves are used and the average is exact. A channel that no action depends on gets exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from quantizers.blocks import frozen, within
from quantizers.calibration import CalibrationSet
from quantizers.candidates import Candidates
from quantizers.layout import ModelLayout

NO_GRADIENT = (
    "the actions do not depend on any layer output in a way that can be differentiated; layout.forward must not run "
    "under no_grad and must reach at least one of the layers to quantize"
)
SAMPLES_AT_ONCE = 8
"""A bound on the memory for the layer inputs and their products."""


def action_sensitivity(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    calibration: CalibrationSet,
    candidates: Candidates,
    probes: int,
    seed: int,
    lean: bool = False,
) -> dict[str, torch.Tensor]:
    """Layer name -> float64[L, O]: mean squared deviation of the actions when only that channel has the width l.

    The deviation is summed over the action chunk and averaged over samples; 16 bits count as no deviation. Samples must
    not interact within a batch. `lean` takes one sample at a time, and computes blocks of the layout without a layer
    among `linears` again when gradients come to them instead of holding what they need: for `linears` that are a small
    part of a large network, of which no action need depend. Raises ValueError if the actions cannot be differentiated
    or a layer folds samples.
    """
    if probes < 1:
        raise ValueError(f"probes is {probes}; at least 1 is needed")
    widths = sum(width < 16 for width in candidates.bits)
    totals = {name: torch.zeros(widths, layer.out_features, dtype=torch.float64) for name, layer in linears.items()}
    again = [block for block in layout.blocks if lean and not any(within(name, block) for name in linears)]
    samples = 0
    # Only the layer outputs need gradients; without those of the weights a backward pass costs half.
    with frozen(module), _computed_again(module, again):
        for index, batch in enumerate(calibration.in_batches(1 if lean else SAMPLES_AT_ONCE)):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
            samples += _add_batch(module, layout, linears, batch, candidates, totals, probes, generator, lean)
    exempt = len(candidates.bits) - widths
    return {
        name: torch.cat([total / samples, total.new_zeros(exempt, total.shape[1])]) for name, total in totals.items()
    }


def action_deviation(
    module: nn.Module,
    layout: ModelLayout,
    layer: nn.Linear,
    channel: int,
    row: torch.Tensor,
    mean: torch.Tensor | None,
    batch: Mapping[str, torch.Tensor],
    actions: torch.Tensor,
) -> float:
    """The true value of what `action_sensitivity` estimates: `channel` of `layer` replaced by `row` float[I].

    With the mean input float[I], the channel's bias makes up for what the row changes on it. `actions` float[B, H, A]
    are those of the untouched module on `batch`.
    """
    with torch.no_grad():
        original = layer.weight[channel].clone()
        layer.weight[channel] = row
        bias = None if mean is None else layer.bias[channel].clone()
        if mean is not None:
            layer.bias[channel] += (original - row) @ mean
        try:
            moved = layout.forward(module, batch)
        finally:
            layer.weight[channel] = original
            if mean is not None:
                layer.bias[channel] = bias
        return (moved - actions).double().square().sum().item() / len(actions)


def _add_batch(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    batch: Mapping[str, torch.Tensor],
    candidates: Candidates,
    totals: Mapping[str, torch.Tensor],
    probes: int,
    generator: torch.Generator,
    lean: bool,
) -> int:
    calls: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    actions = _traced_forward(module, layout, linears, batch, calls)
    if not actions.requires_grad:
        if lean:
            return len(actions)
        raise ValueError(NO_GRADIENT)
    vectors, weight = _probes(actions, probes, generator)
    moves = _moves(calls, linears, candidates, len(actions))
    outputs = [y for _, _, y in calls]
    for number, vector in enumerate(vectors):
        gradients = torch.autograd.grad(
            actions, outputs, vector, retain_graph=number < len(vectors) - 1, allow_unused=True
        )
        shifts: dict[str, torch.Tensor] = {}
        for position, gradient in enumerate(gradients):
            if gradient is None:
                continue
            name = calls[position][0]
            g = _by_sample(gradient, len(actions), name)
            # A layer called several times (once per denoising step, say) moves the actions by the sum over its calls.
            shift = (g.unsqueeze(2) * moves[position]).sum(dim=1)
            shifts[name] = shifts[name] + shift if name in shifts else shift
        for name, shift in shifts.items():
            totals[name].add_(shift.double().square().sum(dim=0), alpha=weight)
    return len(actions)


def _moves(
    calls: list[tuple[str, torch.Tensor, torch.Tensor]],
    linears: Mapping[str, nn.Linear],
    candidates: Candidates,
    samples: int,
) -> dict[int, torch.Tensor]:
    """Position of a call -> float32[B, T, L, O]: by how much each width moves the outputs; layer by layer."""
    positions: dict[str, list[int]] = {}
    for position, (name, _, _) in enumerate(calls):
        positions.setdefault(name, []).append(position)
    moves = {}
    for name, places in positions.items():
        changes = candidates.changes(name, linears[name])
        for position in places:
            x = _by_sample(calls[position][1], samples, name)
            if name in candidates.means:
                x = x - candidates.means[name]
            moves[position] = F.linear(x, changes.flatten(0, 1)).unflatten(-1, changes.shape[:2])
        del changes  # large layers have the most to remember here, and there must not be two of them
    return moves


@contextmanager
def _computed_again(module: nn.Module, blocks: Sequence[str]) -> Iterator[None]:
    """Let these blocks hold their inputs alone, and compute the rest again when gradients come to them."""
    parts = [module.get_submodule(block) for block in blocks]
    try:
        for part in parts:
            part.forward = partial(checkpoint, part.forward, use_reentrant=False, preserve_rng_state=False)
        yield
    finally:
        for part in parts:
            part.__dict__.pop("forward", None)


def _traced_forward(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    batch: Mapping[str, torch.Tensor],
    calls: list[tuple[str, torch.Tensor, torch.Tensor]],
) -> torch.Tensor:
    """The actions, with (name, input, output) of every call of a Linear appended to `calls`."""

    def watch(name: str) -> Callable[..., torch.Tensor]:
        def hook(_layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            output = output if output.requires_grad else output.detach().requires_grad_()
            calls.append((name, inputs[0].detach().float(), output))
            # What follows gets a copy, so that an activation in place cannot overwrite the recorded output.
            return output.clone()

        return hook

    handles = [layer.register_forward_hook(watch(name)) for name, layer in linears.items()]
    try:
        with torch.enable_grad():
            actions = layout.forward(module, batch)
    finally:
        for handle in handles:
            handle.remove()
    return actions


def _probes(actions: torch.Tensor, probes: int, generator: torch.Generator) -> tuple[list[torch.Tensor], float]:
    """Probe vectors shaped like the actions, and the weight of each one's square in the estimate of ||dA||^2."""
    coordinates = actions[0].numel()
    if probes >= coordinates:
        basis = torch.eye(coordinates, dtype=actions.dtype).reshape(coordinates, 1, *actions.shape[1:])
        return [vector.expand_as(actions) for vector in basis], 1.0
    signs = [torch.randint(0, 2, actions.shape, generator=generator) * 2 - 1 for _ in range(probes)]
    return [sign.to(actions.dtype) for sign in signs], 1.0 / probes


def _by_sample(tensor: torch.Tensor, batch_size: int, name: str) -> torch.Tensor:
    """float[B, T, N] of float[B, ..., N], or of float[B * T, N] with the tokens of a sample next to each other."""
    if tensor.shape[0] % batch_size:
        raise ValueError(
            f"layer {name!r} was called with a first axis of {tensor.shape[0]} for a batch of {batch_size} samples; "
            "the first axis must be the sample, or samples times tokens"
        )
    return tensor.reshape(batch_size, -1, tensor.shape[-1])
