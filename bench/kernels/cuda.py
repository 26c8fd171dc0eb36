"""Linears of published policies on a CUDA device, against bf16 cuBLAS: `make bench-quant ARGS=--cuda`.

Every step is captured in a CUDA graph, so that what is timed is the device and not Python, and both sides take turns.
Writes `results/cuda-DEVICE.json` and `.md`. The same weights are used again and again: where they fit the device's
cache, they are read from there on both sides.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bench.folder import write_bytes, write_json
from bench.kernels.shapes import SHAPES, TOKENS
from bench.provenance import commit, packages
from bench.variants import package_root
from quantizers import cuda
from quantizers.linear import QuantLinear

RESULTS = Path("results")
CALLS, ROUNDS, WARMUP = 20, 9, 3
"""Calls in one measurement, measurements of each step, and those before that are not counted."""
CHECKED_TOKENS = 64
"""Up to so many tokens results are compared with the reference, which the CPU computes."""
KINDS = {"w8a8": ((8,), 8), "w4a8": ((4,), 8), "w4a4": ((4,), 4), "mixed 0/2/4/8 a8": ((0, 2, 4, 8), 8)}
"""Name -> widths that are drawn for the rows, and width of the activations."""

Clock = Callable[[Callable[[], object]], Callable[[], float]]
"""Makes of a step what runs it `CALLS` times and returns microseconds of one call."""


def graph_clock(step: Callable[[], object]) -> Callable[[], float]:
    """The step captured in a CUDA graph, timed by events."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            step()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def once() -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(CALLS):
            graph.replay()
        end.record()
        end.synchronize()
        return 1e3 * begin.elapsed_time(end) / CALLS

    return once


def measure(shape: tuple[int, int], tokens: int, device: str, clock: Clock, kinds: Mapping = KINDS) -> dict[str, Any]:
    """Microseconds of bf16 and of every kind and tiling, the ratios, and the deviation from the reference."""
    inputs, outputs = shape
    generator = torch.Generator().manual_seed(0)
    plain = nn.Linear(inputs, outputs, bias=False)
    x = torch.randn(tokens, inputs, generator=generator)
    wide, half = plain.weight.detach().to(device, torch.bfloat16), x.to(device, torch.bfloat16)
    steps: dict[tuple[str, int], Callable[[], object]] = {("bf16", 0): lambda: F.linear(half, wide)}
    deviations = {}
    for kind, (widths, activation_bits) in kinds.items():
        bits = torch.tensor(widths)[torch.randint(len(widths), (outputs,), generator=generator)]
        layer = QuantLinear(plain.weight, None, bits, activation_bits=activation_bits, backend="cuda").to(device)
        if tokens <= CHECKED_TOKENS:
            reference = QuantLinear(plain.weight, None, bits, activation_bits=activation_bits)
            deviations[kind] = _deviation(layer, x.to(device), reference)
        for index, tiling in enumerate(cuda.TILINGS):
            steps[kind, index] = lambda layer=layer, a=activation_bits, t=tiling: layer.tables()(half, a, tiling=t)
    times = _in_turns({name: clock(step) for name, step in steps.items()})
    base = times["bf16", 0]
    found: dict[str, Any] = {"bf16_us": statistics.median(base), "n": len(base), "kinds": {}}
    chosen = cuda.TILINGS.index(cuda.tiling_for(tokens))
    for kind in kinds:
        ratios = {i: sorted(b / t for b, t in zip(base, times[kind, i], strict=True)) for i in range(len(cuda.TILINGS))}
        best = max(ratios, key=lambda i: statistics.median(ratios[i]))
        found["kinds"][kind] = {
            "us": statistics.median(times[kind, chosen]), "over_bf16": statistics.median(ratios[chosen]),
            "spread": [ratios[chosen][0], ratios[chosen][-1]], "tiling": asdict(cuda.TILINGS[chosen]),
            "best_over_bf16": statistics.median(ratios[best]), "best_tiling": asdict(cuda.TILINGS[best]),
            "deviation": deviations.get(kind)}
    return found


def _deviation(layer: QuantLinear, x: torch.Tensor, reference: QuantLinear) -> float:
    """Greatest deviation from `reference`, which is on the CPU, over its greatest output; float32 in and out.

    Raises AssertionError if an integer sum is another.
    """
    if not torch.equal(layer.accumulators(x).cpu(), reference.accumulators(x.cpu())):
        raise AssertionError(f"integer sums of {layer} differ from the reference")
    expected = reference(x.cpu())
    return ((layer(x).cpu() - expected).abs().max() / expected.abs().max()).item()


def _in_turns(clocks: Mapping[tuple[str, int], Callable[[], float]]) -> dict[tuple[str, int], list[float]]:
    names, times = list(clocks), {name: [] for name in clocks}
    for turn in range(ROUNDS + WARMUP):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            elapsed = clocks[name]()
            if turn >= WARMUP:
                times[name].append(elapsed)
    return times


def markdown(content: Mapping[str, Any]) -> str:
    """The results as a table: times as fast as bf16 with the tiling that a layer takes, and the best of all tilings."""
    kinds = list(KINDS)
    lines = [f"# Low-bit Linears on {content['device']}", "",
             f"Times as fast as bf16 cuBLAS ({content['torch']}, CUDA {content['cuda']}), median of {ROUNDS} turns of "
             f"{CALLS} calls in CUDA graphs, quantizing the tokens included; in brackets the best of all tilings.", "",
             "| Policy | Linear | Shape | Tokens | bf16, µs | " + " | ".join(kinds) + " |",
             "|:--|:--|:--|--:|--:|" + "--:|" * len(kinds)]
    for row in content["rows"]:
        cells = [f"{row['kinds'][kind]['over_bf16']:.2f} ({row['kinds'][kind]['best_over_bf16']:.2f})"
                 if kind in row["kinds"] else "not measured" for kind in kinds]
        lines.append(f"| {row['policy']} | {row['linear']} | {row['inputs']} → {row['outputs']} | {row['tokens']} | "
                     f"{row['bf16_us']:.1f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def rows_of(shapes: Mapping, tokens: Sequence[int], device: str, clock: Clock) -> list[dict[str, Any]]:
    """One row per Linear and number of tokens."""
    rows = []
    for policy, linears in shapes.items():
        for linear, shape in linears.items():
            for count in tokens:
                with torch.inference_mode():
                    measured = measure(shape, count, device, clock)
                rows.append({"policy": policy, "linear": linear, "inputs": shape[0], "outputs": shape[1],
                             "tokens": count, **measured})
                ratios = "  ".join(f"{k} {v['over_bf16']:.2f}x" for k, v in measured["kinds"].items())
                print(f"{policy:12} {linear:16} {shape[0]:6} -> {shape[1]:6}  {count:4} tokens  {ratios}", flush=True)
    return rows


def main() -> int:
    """Measure, write both files, print one JSON line; without a device say that nothing was measured, and return 1."""
    reason = cuda.why_unavailable() or (None if torch.cuda.is_available() else "there is no CUDA device")
    if reason is not None:
        print(json.dumps({"cuda": {"value": None, "reason": f"not measured: {reason}"}}))
        return 1
    name = torch.cuda.get_device_name()
    head, dirty = commit(package_root())
    content = {"device": name, "capability": list(torch.cuda.get_device_capability()), "torch": torch.__version__,
               "cuda": torch.version.cuda, "packages": packages(), "commit": head, "dirty": dirty,
               "rows": rows_of(SHAPES, TOKENS, "cuda", graph_clock)}
    target = RESULTS / f"cuda-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}"
    write_json(target.with_suffix(".json"), content)
    write_bytes(target.with_suffix(".md"), markdown(content).encode())
    worst = {kind: min(row["kinds"][kind]["over_bf16"] for row in content["rows"]) for kind in KINDS}
    deviation = max(kind["deviation"] or 0.0 for row in content["rows"] for kind in row["kinds"].values())
    print(json.dumps({"device": name, "files": [f"{target}.json", f"{target}.md"], "least_over_bf16": worst,
                      "deviation": deviation}))
    return 0
