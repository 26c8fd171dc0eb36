"""How much work one decision is: weights read and multiplications done by its linear layers, counted while it runs.

From this and a device's published peaks follows how long a decision must take at least (the roofline of Williams,
Waterman and Patterson, Communications of the ACM 52, 2009). That is an estimate, never a measurement: what is not a
linear layer is left out, and no program reaches the peaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.timing.peaks import Peaks
from quantizers.linear import QuantLinear

HALF_BYTES = 2
"""Bytes of a weight that was left alone, as it would be held on an accelerator."""


def count_work(module: torch.nn.Module, step: Callable[[], object]) -> list[dict[str, Any]]:
    """One entry per call of a linear layer while `step` runs: `macs`, `integer` and `weight_bytes`."""
    calls: list[dict[str, Any]] = []

    def heard(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        tokens = inputs[0].numel() // layer.in_features
        quantized = isinstance(layer, QuantLinear)
        held = layer.held_bytes() if quantized else HALF_BYTES * sum(p.numel() for p in layer.parameters())
        calls.append({"macs": tokens * layer.in_features * layer.out_features, "weight_bytes": held,
                      "integer": quantized and layer.backend != "reference"})

    handles = [layer.register_forward_hook(heard) for layer in module.modules()
               if isinstance(layer, QuantLinear | torch.nn.Linear)]
    try:
        step()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def roofline(calls: list[dict[str, Any]], peaks: Peaks | None, device: str) -> dict[str, Any]:
    """`{"ms", ...}`: the sum over calls of the longer of reading the weights and multiplying; or `{"reason"}`."""
    totals = {"weight_bytes": sum(c["weight_bytes"] for c in calls), "macs": sum(c["macs"] for c in calls),
              "integer_macs": sum(c["macs"] for c in calls if c["integer"])}
    if peaks is None:
        return totals | {"ms": None, "reason": f"no peaks are published for {device}"}
    seconds = sum(max(c["weight_bytes"] / (peaks.bandwidth_gb_s * 1e9),
                      2 * c["macs"] / ((peaks.int8_tops if c["integer"] else peaks.half_tflops) * 1e12)) for c in calls)
    return totals | {"ms": 1e3 * seconds, "peaks": peaks.source}
