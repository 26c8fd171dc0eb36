"""Decisions of a policy and single layers on the CPU, over the better of two float32 baselines, in turns.

bf16 is timed beside them for information; on a CPU without bf16 instructions it is slower than float32.
"""

from __future__ import annotations

import copy
import json
import os
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bench.figure import median_figure
from bench.kernels import memory, third_party
from bench.kernels.packed import Packed, packed
from bench.sources.source import BATCH
from bench.timing.cpu import CpuProbe
from bench.timing.interleave import interleaved
from bench.timing.samples import speedup
from policies.registry import POLICIES, policy_class
from quantizers.audit import QuantAudit
from quantizers.calibration import CalibrationSet
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import parse_method

POLICY = "pocket-oft"
QVLA = "qvla:check_channels=0"
"""The default of 4 mean bits, without the diagnosis of its sensitivity."""
LAYER = (1024, 4096)
LAYER_TOKENS = (1, 16, 64, 256)
LEAST = {"w8a8": 2.5, "qvla_4_mean_bits": 2.0}
"""What a layer is asked to reach from 16 tokens on."""
ROUNDS = 20
"""Rounds of one repetition."""

Ratios = dict[str, list[float]]
"""Step -> median speed over the better baseline, one of each repetition."""


def ratios(steps: Mapping[str, Callable[[Any], object]], inputs: Sequence[Any], repeats: int) -> Ratios:
    """Speed of each step over the faster of the steps `plain` and `packed`, in every repetition."""
    found: Ratios = {name: [] for name in steps}
    for _ in range(repeats):
        samples = interleaved(CpuProbe(), steps, inputs, ROUNDS)
        best = min((samples["plain"], samples["packed"]), key=lambda s: statistics.median(s.samples_ms))
        for name, own in samples.items():
            found[name].append(speedup(best, own)["median"])
    print("  ".join(f"{name} {statistics.median(values):.2f}" for name, values in found.items()), flush=True)
    return found


def decisions(modules: Mapping[str, nn.Module], policy: Any, observations: Sequence[Any], repeats: int) -> Ratios:
    """Whole decisions, everything in them counted."""
    def decide(module: nn.Module) -> Callable[[Any], object]:
        def step(observation: Any) -> object:
            policy.module = module
            return policy.act([observation])

        return step

    return ratios({name: decide(module) for name, module in modules.items()}, observations, repeats)


def variants(
    policy: Any, observations: Sequence[Any], episodes: Sequence[str]
) -> tuple[dict[str, nn.Module], dict[str, QuantAudit]]:
    """The network of a policy in float32, packed, at W8A8 and quantized by QVLA, and the audits."""
    batches = [policy.batch(observations[i:i + BATCH]) for i in range(0, len(observations), BATCH)]
    modules, audits = {"plain": policy.module, "packed": packed(copy.deepcopy(policy.module))}, {}
    for method in ("rtn:w8a8", QVLA):
        modules[method] = copy.deepcopy(policy.module)
        calibration = CalibrationSet.of(batches, episodes)
        audits[method] = quantize_(modules[method], policy.layout, parse_method(method), calibration)
    return modules, audits


def figures(policy: Any, parts: Collection[str], repeats: int, threads: Sequence[int] | None = None) -> dict[str, Any]:
    """Of the parts `speed` and `memory`; speed with each number of threads, None for what is set."""
    observations, episodes = policy.calibration_observations()
    modules, audits = variants(policy, observations, episodes)
    found: dict[str, Any] = {}
    if "speed" in parts:
        steps, full = layer_steps(), policy.module
        for count in threads or (torch.get_num_threads(),):
            torch.set_num_threads(count)
            end = "_over_float32" + (f"_{count}_threads" if threads else "")
            found |= decision_figures(modules, policy, observations, repeats, end) | layer_figures(steps, repeats, end)
        policy.module = full
    return found | (memory.figures(policy, modules, audits) if "memory" in parts else {})


def decision_figures(
    modules: Mapping[str, nn.Module], policy: Any, observations: Sequence[Any], repeats: int, end: str
) -> dict[str, Any]:
    """Decisions per second of the two variants over the better of two float32 baselines."""
    measured = decisions(modules, policy, observations, repeats)
    return {f"{policy.name}.w8a8_decisions{end}": median_figure(measured["rtn:w8a8"], ">=", 1.49),
            f"{policy.name}.qvla_4_mean_bits_decisions{end}": median_figure(measured[QVLA], ">=", 1.0)}


def layer_figures(
    steps: Mapping[str, Callable[[torch.Tensor], torch.Tensor]], repeats: int, end: str
) -> dict[str, Any]:
    """Speed of single layers over the better of two float32 baselines."""
    found = {}
    for tokens in LAYER_TOKENS:
        with torch.inference_mode():
            measured = ratios(steps, [torch.randn(tokens, LAYER[0])], repeats)
        for name in ("bf16", "w8a8", "w4a8", "qvla_4_mean_bits"):
            least = LEAST.get(name) if tokens >= 16 else None
            target = (None, None) if least is None else (">=", least)
            found[f"{name}_{LAYER[0]}x{LAYER[1]}_{tokens}_rows{end}"] = median_figure(measured[name], *target)
    return found


def layer_steps() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """One layer in float32, packed, bf16, at 8 and 4 bits, and with the mean of 4 bits."""
    generator = torch.Generator().manual_seed(0)
    plain = nn.Linear(*LAYER).requires_grad_(False)
    wide, bias = plain.weight.bfloat16(), plain.bias.bfloat16()
    steps = {"plain": plain, "packed": Packed(plain), "bf16": lambda x: F.linear(x.bfloat16(), wide, bias)}
    mixed = torch.tensor([0, 2, 4, 8])[torch.randint(4, (LAYER[1],), generator=generator)]
    for name, bits in (("w8a8", torch.full((LAYER[1],), 8)), ("w4a8", torch.full((LAYER[1],), 4)),
                       ("qvla_4_mean_bits", mixed)):
        steps[name] = QuantLinear(plain.weight, plain.bias, bits, activation_bits=8, backend="mixed")
    return steps


def third_party_figures(repeats: int) -> dict[str, Any]:
    """MatMulNBits with our codes: how far its results are from ours, and its speed beside that of our own kernel."""
    names = [f"onnxruntime_w4_{n}_rows_over_float32" for n in LAYER_TOKENS]
    reason = third_party.why_unavailable()
    if reason is not None:
        return {name: median_figure([], reason=reason) for name in ("onnxruntime_w4_deviation", *names)}
    plain = nn.Linear(*LAYER, bias=False).requires_grad_(False)
    bits = torch.full((LAYER[1],), 4)
    ours = QuantLinear(plain.weight, None, bits, group_size=32)
    x = torch.randn(16, LAYER[0])
    expected = ours(x)
    theirs = third_party.matmul_nbits(ours, third_party.EXACT)(x)
    deviation = ((theirs - expected).abs().max() / expected.abs().max()).item()
    found = {"onnxruntime_w4_deviation": median_figure([deviation])}
    steps = {"plain": plain, "packed": Packed(plain), "theirs": third_party.matmul_nbits(ours, third_party.INT8),
             "ours": QuantLinear(plain.weight, None, bits, group_size=32, activation_bits=8, backend="mixed")}
    for name, tokens in zip(names, LAYER_TOKENS, strict=True):
        with torch.inference_mode():
            measured = ratios(steps, [torch.randn(tokens, LAYER[0])], repeats)
        found[name] = median_figure(measured["theirs"])
        found[name.replace("onnxruntime_w4", "own_w4a8_group_32")] = median_figure(measured["ours"])
    return found


def main(threads: Sequence[int], repeats: int) -> int:
    """Measure and print; the last line is one JSON object that names every figure."""
    found = figures(policy_class(POLICIES[POLICY])(), ("speed", "memory"), repeats, threads)
    torch.set_num_threads(1)
    found |= third_party_figures(repeats)
    print(json.dumps({"figures": found, "machine": {"cpus": os.cpu_count(), "load": os.getloadavg()[0]}}))
    return 0
