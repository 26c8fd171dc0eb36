"""How much the actions move when one output channel is quantized: the action-space sensitivity of QVLA.

The paper (arXiv 2602.03782) bounds the deviation of the actions A by a product of norms, ||dA|| ~ ||J|| ||dX||. Here
the inner product itself is used, which is tighter and costs the same: for a probe v in action space, one backward pass
gives g = d(v.A)/dY for the outputs Y of *all* layers at once, and quantizing channel c of a layer moves v.A by

    v.dA = sum_t g[t, c] * ((Q_b(W)_c - W_c) x_t)                     to first order.

Its square, averaged over random signs v, is ||dA||^2. With at least as many probes as there are action coordinates, the
coordinates themselves are used and the average is exact. A channel that no action depends on gets exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional as F

from quantizers.calibration import CalibrationSet
from quantizers.candidates import Candidates
from quantizers.layout import ModelLayout

_SAMPLES_AT_ONCE = 8
"""A bound on the memory for the layer inputs and their products."""


def action_sensitivity(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    calibration: CalibrationSet,
    candidates: Candidates,
    probes: int,
    seed: int,
) -> dict[str, torch.Tensor]:
    """Layer name -> float64[L, O]: mean squared deviation of the actions when only that channel has the width l.

    The deviation is summed over the action chunk and averaged over samples; 16 bits count as no deviation. Samples must
    not interact within a batch. Raises ValueError if the actions cannot be differentiated or a layer folds samples.
    """
    if probes < 1:
        raise ValueError(f"probes is {probes}; at least 1 is needed")
    widths = sum(width < 16 for width in candidates.bits)
    changes = {
        name: candidates.weights[name][:widths] - layer.weight.detach().float() for name, layer in linears.items()
    }
    totals = {name: torch.zeros(len(delta), delta.shape[1], dtype=torch.float64) for name, delta in changes.items()}
    samples = 0
    for index, batch in enumerate(calibration.in_batches(_SAMPLES_AT_ONCE)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        samples += _add_batch(module, layout, linears, batch, changes, candidates.means, totals, probes, generator)
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
    changes: Mapping[str, torch.Tensor],
    means: Mapping[str, torch.Tensor],
    totals: Mapping[str, torch.Tensor],
    probes: int,
    generator: torch.Generator,
) -> int:
    calls: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    actions = _traced_forward(module, layout, linears, batch, calls)
    vectors, weight = _probes(actions, probes, generator)
    moves = {}
    for position, (name, x, _) in enumerate(calls):
        x = _by_sample(x, len(actions), name)
        if name in means:
            x = x - means[name]
        moves[position] = F.linear(x, changes[name].flatten(0, 1)).unflatten(-1, changes[name].shape[:2])
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
    # Only the layer outputs need gradients; without those of the weights a backward pass costs half.
    frozen = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            actions = layout.forward(module, batch)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for handle in handles:
            handle.remove()
    if not actions.requires_grad:
        raise ValueError(
            "the actions do not depend on any layer output in a way that can be differentiated; layout.forward must "
            "not run under no_grad and must reach at least one of the layers to quantize"
        )
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
