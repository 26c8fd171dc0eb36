"""Muon in float32."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of x, x^3 and x^5 in a step of the iteration (Jordan 2024)."""
STEPS = 5
"""Of the iteration."""


class Muon(torch.optim.Optimizer):
    """As `torch.optim.Muon` at its defaults, with steps of AdamW's size (Liu et al. 2025, section 2.2).

    torch's own makes matrices orthogonal in bfloat16, which a processor without AVX-512 multiplies in a plain loop: 34
    s a step of `pocket-token` on one core instead of 1.
    """

    def __init__(self, matrices: Iterable[torch.Tensor], lr: float, weight_decay: float, momentum: float = 0.95):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients; matrices without one stay as they are."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._step(matrix, group["lr"], group["weight_decay"], group["momentum"])

    def _step(self, matrix: torch.Tensor, lr: float, weight_decay: float, momentum: float) -> None:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        average = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        update = orthogonal(matrix.grad.lerp(average, momentum))
        matrix.mul_(1 - lr * weight_decay).add_(update, alpha=-lr * 0.2 * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """float32[R, C]: about the nearest matrix whose rows (or columns, if they are fewer) are orthonormal.

    Singular values end between 0.7 and 1.2 (Newton-Schulz iteration, Jordan 2024).
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
