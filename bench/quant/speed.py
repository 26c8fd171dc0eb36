"""Decisions of a policy, and single layers, against float32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.kernels.packed import Packed, packed
from bench.quant.drift import Drifts
from bench.quant.figure import figure
from bench.timing.cpu import CpuProbe
from bench.timing.interleave import interleaved
from bench.timing.samples import speedup
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import parse_method

LAYER = (1024, 4096)
LAYER_TOKENS = (16, 64, 256)


def speed_figures(drifts: Drifts) -> dict[str, Any]:
    """Decisions of the policy and single layers, over the better of two float32 baselines, measured in turns."""
    modules = {"plain": drifts.full, "packed": packed(copy.deepcopy(drifts.full))}
    for text in ("rtn:w8a8", "qvla"):
        modules[text] = copy.deepcopy(drifts.full)
        quantize_(modules[text], drifts.policy.layout, parse_method(text), drifts.calibration)

    def decide(module: nn.Module) -> Callable[[Any], object]:
        def step(observation: Any) -> object:
            drifts.policy.module = module
            return drifts.policy.act([observation])

        return step

    ratios = ratios_over_best({name: decide(module) for name, module in modules.items()}, drifts.observations)
    drifts.policy.module = drifts.full
    found = {f"{drifts.name}.w8a8_decisions_over_float32": figure(ratios["rtn:w8a8"], ">=", 1.49),
             f"{drifts.name}.qvla_4_mean_bits_decisions_over_float32": figure(ratios["qvla"], ">=", 1.0)}
    generator = torch.Generator().manual_seed(0)
    plain = nn.Linear(LAYER[0], LAYER[1])
    widths = torch.tensor([0, 2, 4, 8])[torch.randint(4, (LAYER[1],), generator=generator)]
    layers = {"w8a8": torch.full((LAYER[1],), 8), "qvla_4_mean_bits": widths}
    steps = {"plain": plain, "packed": Packed(plain)} | {
        name: QuantLinear(plain.weight, plain.bias, bits, activation_bits=8, backend="mixed")
        for name, bits in layers.items()}
    for tokens in LAYER_TOKENS:
        with torch.inference_mode():
            ratios = ratios_over_best(steps, [torch.randn(tokens, LAYER[0], generator=generator)])
        for name, least in (("w8a8", 2.5), ("qvla_4_mean_bits", 2.0)):
            found[f"{name}_1024x4096_{tokens}_rows_over_float32"] = figure(ratios[name], ">=", least)
    return found


def ratios_over_best(steps: dict[str, Callable[[Any], object]], inputs: Sequence[Any]) -> dict[str, float]:
    """Speed of each step over the faster of the steps `plain` and `packed`."""
    samples = interleaved(CpuProbe(), steps, inputs)
    best = min((samples["plain"], samples["packed"]), key=lambda s: np.median(s.samples_ms))
    print("  ".join(f"{name} {np.median(s.samples_ms):.2f} ms" for name, s in samples.items()), flush=True)
    return {name: speedup(best, s)["median"] for name, s in samples.items()}
