"""Measure the quantizers against what this project promises of them: `make bench-quant`.

Drift is teacher-forced on the policies' own training-side observations: methods calibrate on one half, and all answer
the other half, which full precision answered first. Nothing here runs a simulator. The last line on stdout is one JSON
object that names every figure, with null and a reason where there is nothing to say.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.drift import compare_actions
from bench.sources.source import BATCH
from bench.timing.cpu import CpuProbe
from bench.timing.interleave import interleaved
from bench.timing.samples import speedup
from bench.variants import package_root
from policies.registry import POLICIES, policy_class
from quantizers.allocation import allocate
from quantizers.calibration import CalibrationSet
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import METHODS, parse_method
from quantizers.saved import Origin
from quantizers.storage import save_quantized

PARTS = ("drift", "allocation", "speed", "memory")
WIDTHS = ("w8a8", "w4a16", "w4a8", "w4a4")
LEARNED_WIDTHS = ("w4a16", "w4a4")
"""The settings that OmniQuant is published for; learning takes minutes."""
BASELINES = ("rtn:w4a8", "smoothquant:w4a8", "awq:w4a8,group=none")
"""Scales per row and token, as QVLA's."""
QVLA = "qvla:budget=bytes,rule=hull,check_channels=0,target_bits={bits:.5f}"
RELEASED = "qvla:budget=bytes,rule=released,sensitivity=gram,clip=absmax,check_channels=0,target_bits={bits:.5f}"
LAYER = (1024, 4096)
LAYER_TOKENS = (16, 64, 256)
ALLOCATED_CHANNELS = 2_000_000


class Packed(nn.Module):
    """A float32 Linear with its weight laid out for oneDNN once: on many CPUs faster than `F.linear`."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        self.bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), self.weight, self.bias, "none", [], "")


def halves(policy: Any) -> tuple[CalibrationSet, list[Any]]:
    """The even observations as a calibration set, and the odd ones to answer."""
    observations, episodes = policy.calibration_observations()
    even = observations[::2]
    batches = [policy.batch(even[i:i + BATCH]) for i in range(0, len(even), BATCH)]
    return CalibrationSet.of(batches, episodes[::2]), observations[1::2]


def answers(policy: Any, observations: Sequence[Any]) -> np.ndarray:
    """float32[N * H, 7]: the actions for observations of one decision each, with the same noise every time."""
    policy.reset((0,))
    return np.concatenate([policy.act([observation])[0] for observation in observations])


class Drifts:
    """One policy, and how far each method moves what it answers."""

    def __init__(self, name: str) -> None:
        self.name, self.policy = name, policy_class(POLICIES[name])()
        self.calibration, self.observations = halves(self.policy)
        self.full = self.policy.module
        self.reference = answers(self.policy, self.observations)
        self.rows: dict[str, dict[str, Any]] = {}

    def of(self, method: str) -> dict[str, Any]:
        """Drift, bytes and seconds of a method; measured once."""
        if method in self.rows:
            return self.rows[method]
        self.policy.module = copy.deepcopy(self.full)
        began = time.perf_counter()
        audit = quantize_(self.policy.module, self.policy.layout, parse_method(method), self.calibration)
        seconds = time.perf_counter() - began
        drift = compare_actions(self.reference, answers(self.policy, self.observations), self.policy.action_spec)
        self.policy.module = self.full
        row = {"drift": drift["l2_mean"], "gripper_flips": drift["gripper_flips"], "seconds": seconds,
               "bytes_share": audit.component_bytes / audit.component_bytes_full, "mean_bits": audit.mean_bits,
               "bits_per_weight": audit.mean_bits_per_weight, "backend": audit.backend}
        print(f"{self.name:13} {method:62.62} drift {row['drift']:.4f}  flips {row['gripper_flips']:3}  bytes "
              f"{100 * row['bytes_share']:5.1f} %  {seconds:6.1f} s  {row['backend']}", flush=True)
        self.rows[method] = row
        return row

    def over(self, template: str, baseline: str) -> float:
        """Drift of a budgeted method over that of `baseline`, at no more bytes than the baseline's."""
        other = self.of(baseline)
        own = self.of(template.format(bits=other["bits_per_weight"]))
        return own["drift"] / other["drift"]


def table(drifts: Drifts) -> None:
    """Every method at every width, in its own granularity."""
    for method in METHODS:
        if method == "fp":
            continue
        if method == "qvla":
            texts = [f"qvla:{width}" for width in ("a8", "a16", "a4")]
        else:
            texts = [f"{method}:{width}" for width in (LEARNED_WIDTHS if method == "omniquant" else WIDTHS)]
        for text in texts:
            drifts.of(text)


def drift_figures(drifts: Drifts, whole_table: bool) -> dict[str, Any]:
    """The promises about drift and bytes; `released` at equal bytes is judged by the same qvla run as RTN."""
    if whole_table:
        table(drifts)
    four = drifts.of("qvla")
    bits = drifts.of(BASELINES[0])["bits_per_weight"]
    found = {"qvla_4_mean_bits_bytes_share": figure(four["bytes_share"], "<=", 0.292)}
    for baseline, limit in zip(BASELINES, (0.5, 1.0, 1.0), strict=True):
        name = f"qvla_drift_over_{baseline.partition(':')[0]}_at_equal_bytes"
        found[name] = figure(drifts.over(QVLA, baseline), "<=", limit)
    released = drifts.of(RELEASED.format(bits=bits))["drift"]
    own = drifts.of(QVLA.format(bits=bits))["drift"]
    found["qvla_drift_over_released_rule_at_equal_bytes"] = figure(own / released, "<=", 1.0)
    return {f"{drifts.name}.{name}": value for name, value in found.items()}


def allocation_figures() -> dict[str, Any]:
    """Seconds to allocate as many channels as a 7 B model has."""
    random = np.random.default_rng(0)
    error = np.sort(random.gamma(0.3, size=(ALLOCATED_CHANNELS, 5)), axis=1)[:, ::-1]
    size = np.tile(np.array([0.0, 2, 4, 8, 16]), (ALLOCATED_CHANNELS, 1))
    found = {}
    for rule in ("hull", "incremental", "released"):
        began = time.perf_counter()
        allocate(error, size, 4.0 * ALLOCATED_CHANNELS, rule)
        seconds = time.perf_counter() - began
        print(f"allocation of {ALLOCATED_CHANNELS:,} channels, {rule}: {seconds:.2f} s", flush=True)
        found[f"allocation_2m_channels_{rule}_s"] = figure(seconds, "<=", 2.0)
    return found


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


def packed(module: nn.Module) -> nn.Module:
    """`module` with every Linear packed for oneDNN."""
    for name, layer in [(n, part) for n, part in module.named_modules() if type(part) is nn.Linear]:
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, Packed(layer))
    return module


_GROWTH = """
import gc, json, sys
from pathlib import Path
from policies.registry import POLICIES, policy_class
from quantizers.storage import load_quantized_
name, folder, network = sys.argv[1:]
kind, size = policy_class(POLICIES[name]), lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = size()
policy = kind.skeleton(json.loads(network)) if folder else kind()
if folder:
    load_quantized_(policy.module, Path(folder))
gc.collect()
print(size() - before)
"""
"""Prints by how many bytes a process grows that loads a network and does nothing else."""


def memory_figures(drifts: Drifts) -> dict[str, Any]:
    """Growth of the resident size of a process that loads the network and nothing else."""
    module = copy.deepcopy(drifts.full)
    audit = quantize_(module, drifts.policy.layout, parse_method("rtn:w4a8"), drifts.calibration)
    network = json.dumps(drifts.policy.network_config())
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "saved"
        save_quantized(module, folder, audit, Origin(drifts.name, "rtn:w4a8", None, drifts.policy.network_config()))
        grown = {}
        for what, place in (("float32", ""), ("rtn:w4a8", str(folder))):
            command = [sys.executable, "-c", _GROWTH, drifts.name, place, network]
            grown[what] = int(subprocess.run(command, cwd=package_root(), capture_output=True, text=True, check=True)
                              .stdout.splitlines()[-1])
    print(f"resident growth: {grown}; counted {audit.held_bytes_full:,} and {audit.held_bytes:,}", flush=True)
    return {f"{drifts.name}.w4a8_resident_growth_over_float32":
                figure(grown["rtn:w4a8"] / grown["float32"], None, None)}


def figure(value: float | None, sense: str | None, target: float | None, reason: str | None = None) -> dict[str, Any]:
    """A figure of the last line: value, target, whether it is met, and why there is none."""
    met = None if value is None or sense is None else value <= target if sense == "<=" else value >= target
    return {"value": value, "target": None if sense is None else f"{sense} {target:g}", "met": met, "reason": reason}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    at_hand = [n for n, e in POLICIES.items() if e.quantizable and e.weights and (package_root() / e.weights).is_dir()]
    parser.add_argument("--policy", nargs="+", choices=at_hand, default=at_hand)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--table", action="store_true", help="also every method at every width (many minutes)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found: dict[str, Any] = allocation_figures() if "allocation" in args.parts else {}
    rows = {}
    for name in args.policy:
        drifts = Drifts(name)
        if "drift" in args.parts:
            found |= drift_figures(drifts, args.table)
        if "speed" in args.parts and name == at_hand[0]:
            found |= speed_figures(drifts)
        if "memory" in args.parts:
            found |= memory_figures(drifts)
        rows[name] = drifts.rows
    elsewhere = "closed loop: make bench METHOD=qvla:target_bits=8"
    found["qvla_8_mean_bits_success_within_3_points"] = figure(None, None, None, elsewhere)
    found["gram_and_released_equal_a_plain_loop"] = figure(
        None, None, None, "tests/quantizers/test_gram.py and test_allocation.py hold it")
    machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "threads": args.threads}
    print(json.dumps({"figures": found, "rows": rows, "machine": machine}))


if __name__ == "__main__":
    main()
