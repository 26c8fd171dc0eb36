"""What one variant of a large model takes: to load, to hold, to decide; and what making it takes.

A variant is timed in turns with full precision in eager mode, decision by decision, so that what slows the machine
down meets both. Answers of random weights mean nothing; that a runtime answers as eager mode does is checked all the
same, and reported.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.timing.interleave import interleaved
from bench.timing.probe import TimingProbe
from bench.timing.samples import LatencySamples, speedup
from bench.truesize.hostmemory import HostMemory
from bench.truesize.models import Model
from bench.truesize.stages import Stages, split
from envs.types import Observation
from policies.registry import POLICIES, policy_class
from quantizers.calibration import CalibrationSet
from quantizers.ledger import held_bytes
from quantizers.linear import QuantLinear
from quantizers.quantize import quantize_
from quantizers.registry import METHODS, parse_method
from quantizers.saved import Origin, read_config
from quantizers.storage import load_quantized_, save_quantized

RUNTIMES: Mapping[str, dict[str, Any] | None] = {"eager": None, "compile": {}, "graphs": {"mode": "reduce-overhead"}}
"""Runtime -> arguments of `torch.nn.Module.compile` for every stage; "graphs" captures CUDA graphs."""
NOISE_KEY = (0,)
"""Of a policy that samples."""
CALIBRATION_SAMPLES = 8
"""Observations that methods calibrate on: enough for each of them to work, too few for weights that mean something."""


class Bench:
    """One model on one device, with its full-precision policy for comparison."""

    def __init__(self, model: Model, folder: Path, probe: TimingProbe, rounds: int, quantize_on: str) -> None:
        """`quantize_on` is "host" or "device": where methods work."""
        self.model, self.folder, self.probe, self.rounds, self.quantize_on = model, folder, probe, rounds, quantize_on
        self.kind = policy_class(POLICIES[model.policy])
        self.cuda = probe.torch_device.startswith("cuda")
        self.checkpoint_bytes = sum(path.stat().st_size for path in folder.iterdir()
                                    if path.suffix in (".safetensors", ".pt"))
        self.full, self.load_s = self._timed(lambda: self.kind(f"={folder}"))
        self.observations = observations(self.full, 4)
        self.reference = self._answer(self.full)

    def full_precision(self, runtime: str) -> dict[str, Any]:
        """The row of full precision in a runtime."""
        row = {"method": "fp", "runtime": runtime, "load_s": self.load_s}
        return row | self._run(self.full, runtime)

    def quantized(self, method: str, runtimes: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of a method: made, saved beside the checkpoint, loaded again, run."""
        saved = self.folder.parent / "saved"
        shutil.rmtree(saved, ignore_errors=True)
        made = self.make(method, saved)

        def load() -> Any:
            policy = self.kind.skeleton(read_config(saved).origin.network)
            load_quantized_(policy.module, saved)
            return policy

        policy, load_s = self._timed(load)
        rows = []
        for runtime in runtimes:
            row = {"method": method, "runtime": runtime, "load_s": load_s, **made}
            rows.append(row | attempted(lambda runtime=runtime: self._run(policy, runtime)))
        return rows

    def make(self, method: str, saved: Path) -> dict[str, Any]:
        """Quantize the checkpoint and save it: seconds, and host memory over the size of the checkpoint."""
        config = parse_method(method)
        began = time.perf_counter()
        with HostMemory() as host:
            policy = self.kind(f"={self.folder}")
            if self.quantize_on == "device":
                policy.to(self.probe.torch_device)
            calibration = None
            if METHODS[method.partition(":")[0]].needs_calibration:
                seen = observations(policy, CALIBRATION_SAMPLES)
                calibration = CalibrationSet.of([policy.batch([one]) for one in seen],
                                                [f"noise-{i}" for i in range(len(seen))])
            audit = quantize_(policy.module, policy.layout, config, calibration)
            origin = Origin(self.model.policy, method, None, policy.network_config())
            save_quantized(policy.module, saved, audit, origin)
        seconds = time.perf_counter() - began
        del policy
        free()
        peak = None if host.peak_bytes is None else host.peak_bytes / self.checkpoint_bytes
        return {"quantize_s": seconds, "quantized_on": self.quantize_on, "backend": audit.backend,
                "mean_bits": audit.mean_bits, "quantize_host_memory_over_checkpoint": peak}

    def _run(self, policy: Any, runtime: str) -> dict[str, Any]:
        policy.reset(NOISE_KEY)
        self.full.reset(NOISE_KEY)
        before = torch.cuda.memory_allocated() - held_bytes(policy.module) if self.cuda else 0
        with in_runtime(policy.module, self.model, runtime):
            act = decide_anew if runtime == "graphs" else decide
            steps: dict[str, Callable[[Observation], object]] = {"this": lambda seen: act(policy, seen)}
            if policy is not self.full:  # which cannot be in two runtimes at once
                steps["bf16"] = lambda seen: decide(self.full, seen)
            if self.cuda:
                act(policy, self.observations[0])
                torch.cuda.reset_peak_memory_stats()
                act(policy, self.observations[0])
                torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated() - before if self.cuda else None
            samples = interleaved(self.probe, steps, self.observations, self.rounds)
            answer = self._answer(policy)
        found = self._figures(policy, samples, peak)
        if policy is self.full and runtime == "eager":
            self.baseline = samples["this"]
        elif policy is self.full:
            found["speedup_over_eager"] = float(np.median(self.baseline.samples_ms)
                                                / np.median(samples["this"].samples_ms))
            found["max_difference_from_eager"] = float(np.abs(answer - self.reference).max())
        if runtime == "eager":
            found["stages_ms"] = self._stages(policy)
        return found

    def _figures(self, policy: Any, samples: Mapping[str, LatencySamples], peak: int | None) -> dict[str, Any]:
        own = samples["this"]
        held = held_bytes(policy.module)
        found = {"weight_bytes": held, "weight_share": held / held_bytes(self.full.module), "peak_device_bytes": peak,
                 "latency_ms": percentiles(own.samples_ms),
                 "decisions_per_s": 1e3 / float(np.median(own.samples_ms))}
        if "bf16" in samples:
            found["speedup_over_bf16_eager"] = dict(speedup(samples["bf16"], own)) if self._integers(policy) else {
                "median": None, "reason": "weights are unpacked for every product: this says nothing of the method"}
        return found

    @staticmethod
    def _integers(policy: Any) -> bool:
        """Whether the quantized layers multiply what they hold."""
        return all(part.backend != "reference" for part in policy.module.modules() if isinstance(part, QuantLinear))

    def _stages(self, policy: Any) -> dict[str, Any]:
        stages = Stages(policy.module, self.model.stages, self.probe.torch_device)
        seen = self.observations[0]
        measured = split(stages, lambda: decide(policy, seen), lambda: policy.inputs([seen]), self.rounds)
        return {stage: percentiles(values) for stage, values in measured.items()}

    def _answer(self, policy: Any) -> np.ndarray:
        policy.reset(NOISE_KEY)
        return policy.act([self.observations[0]])

    def _timed(self, load: Callable[[], Any]) -> tuple[Any, float]:
        began = time.perf_counter()
        policy = load()
        policy.to(self.probe.torch_device)
        if self.cuda:
            torch.cuda.synchronize()
        return policy, time.perf_counter() - began


def decide(policy: Any, seen: Observation) -> Any:
    """One decision."""
    return policy.act([seen])


def decide_anew(policy: Any, seen: Observation) -> Any:
    """One decision; what CUDA graphs gave before may be overwritten."""
    torch.compiler.cudagraph_mark_step_begin()
    return policy.act([seen])


@contextmanager
def in_runtime(module: torch.nn.Module, model: Model, runtime: str) -> Any:
    """Let the stages of `module` run in a runtime while the context lasts."""
    arguments = RUNTIMES[runtime]
    present = dict(module.named_modules())
    parts = [present[name] for names in model.stages.values() for name in names if name in present]
    try:
        for part in parts if arguments is not None else ():
            part.compile(**arguments)
        yield
    finally:
        if arguments is not None:
            for part in parts:
                part._compiled_call_impl = None
            torch.compiler.reset()


def attempted(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `run` found, or why it could not: a backend that the device lacks, no memory, a graph that breaks."""
    try:
        return run()
    except (RuntimeError, ValueError, MemoryError) as error:
        free()
        return {"reason": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def observations(policy: Any, count: int) -> list[Observation]:
    """Pictures of noise for every camera of a policy."""
    random = np.random.default_rng(0)
    side = policy.image_size
    return [Observation({camera: random.integers(0, 256, (side, side, 3), dtype=np.uint8)
                         for camera in ("agentview", "wrist")},
                        random.uniform(-1, 1, 8).astype(np.float32), "put both moka pots on the stove")
            for _ in range(count)]


def percentiles(samples_ms: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    p50, p95 = np.percentile(samples_ms, [50, 95])
    return {"p50": float(p50), "p95": float(p95)}


def free() -> None:
    """Give memory back before the next variant."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
