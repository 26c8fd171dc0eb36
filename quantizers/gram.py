"""The sensitivity that the released QVLA code computes: a weighted weight error, per layer, without any action.

With H = (2 / N) sum X^T X over N samples and D the diagonal of the upper Cholesky factor of the inverse of
H + damp mean(diag H) I, a row's proxy is sum_j (W_j - Q_b(W)_j)^2 / D_j^2: the loss of GPTQ (arXiv 2210.17323) without
error feedback. It speaks of a layer's own output, so values of different layers have no common unit;
`quantizers.sensitivity` has one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from quantizers.blocks import observe
from quantizers.calibration import CalibrationSet
from quantizers.candidates import Candidates
from quantizers.layout import ModelLayout

_SMALLEST_D2 = 1e-12


def grams(
    module: nn.Module, layout: ModelLayout, linears: Mapping[str, nn.Linear], calibration: CalibrationSet
) -> dict[str, torch.Tensor]:
    """Layer name -> H float32[I, I], all layers in one pass over the batches; zeros if a layer is never called."""
    total = {name: torch.zeros(layer.in_features, layer.in_features) for name, layer in linears.items()}
    samples = observe(module, layout, list(linears), calibration, lambda name, x: total[name].addmm_(x.t(), x))
    return {name: gram.mul_(2.0 / samples) for name, gram in total.items()}


def input_weights(gram: torch.Tensor, damp: float) -> torch.Tensor:
    """1 / D^2, float64[I], of a gram matrix float[I, I]. Inputs that are always zero count as if they had power 1."""
    gram = gram.double().clone()
    diagonal = gram.diagonal()
    diagonal[diagonal == 0] = 1.0
    diagonal += damp * diagonal.mean()
    factor = torch.linalg.cholesky(torch.linalg.inv(gram), upper=True)
    return 1.0 / factor.diagonal().square().clamp_min(_SMALLEST_D2)


def gram_sensitivity(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    calibration: CalibrationSet,
    candidates: Candidates,
    damp: float,
) -> dict[str, torch.Tensor]:
    """Layer name -> float64[L, O], the proxy of every channel at each width; 16 bits count as no error."""
    result = {}
    for name, gram in grams(module, layout, linears, calibration).items():
        importance = input_weights(gram, damp)
        errors = [change.double().square() @ importance for change in candidates.changes(name, linears[name])]
        exempt = len(candidates.bits) - len(errors)
        result[name] = torch.stack([*errors, *[torch.zeros_like(errors[0])] * exempt])
    return result
