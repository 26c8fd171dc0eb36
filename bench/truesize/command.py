"""Time and weigh large policies at their true size with random weights: `make bench-7b`, on a GPU.

Weights are random, so there are no success rates. Checkpoints of the published layout are written to a scratch folder,
read back by the real reader, quantized layer by layer, saved, loaded and run. `--tiny` does the same with tiny networks
on a CPU: it shows that the code works, not how fast anything is. The last line on standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError, UsageError, lookup
from bench.timing.cpu import CpuProbe
from bench.timing.cuda import CudaProbe
from bench.truesize.models import MODELS, write
from bench.variants import split_methods

_FULL = {"method": "fp", "runtime": "eager"}
"""Beginning of a row of full precision."""
RUNTIMES = ("eager", "compile", "graphs")
"""How PyTorch may run a network; `bench.truesize.measure` says what each means."""
METHODS = "rtn:w8a8 smoothquant:w8a8 awq:w4 gptq:w4 qvla"
"""Each method at the setting that it is published for."""
DISK_BYTES = 40 * 10**9
"""Free space for a checkpoint of 15 GB, what is made of it, and room to write."""
GOALS = (("openvla-7b-oft", "weight_share", "<=", 0.292), ("openvla-7b-oft", "speedup", ">=", 1.49),
         ("any", "quantize_s", "<=", 600.0), ("any", "host_memory_over_checkpoint", "<=", 1.3))
"""What is asked of a 4-bit method on OpenVLA-OFT (QVLA's published figures, arXiv 2602.03782), and of making any."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 2 for what the user can mend."""
    args = _parser().parse_args(argv)
    try:
        models = {name: lookup("model", name, MODELS) for name in args.models or MODELS}
        for name in args.models or ():
            if (reason := models[name].unavailable()) is not None:
                raise UsageError(f"model {name!r} cannot be measured: {reason}")
        probe = CpuProbe() if args.tiny else CudaProbe()
        if (reason := probe.unavailable()) is not None:
            raise UsageError(f"policies of 7 billion weights are timed on a GPU, and here is none: {reason}; --tiny "
                             "runs the same code with tiny networks on a CPU")
        if args.rounds < 1:
            raise UsageError(f"rounds is {args.rounds}; it must be 1 or more")
        strange = sorted(set(args.runtimes) - set(RUNTIMES))
        if strange or "eager" not in args.runtimes:
            raise UsageError(f"runtimes {args.runtimes} must name eager, with which all are compared, and may name "
                             "compile and graphs")
        args.scratch.mkdir(parents=True, exist_ok=True)
        if not args.tiny and shutil.disk_usage(args.scratch).free < DISK_BYTES:
            raise UsageError(f"{args.scratch} has {shutil.disk_usage(args.scratch).free / 1e9:.0f} GB free, "
                             f"{DISK_BYTES / 1e9:.0f} are needed; name another folder with --scratch")
        report = _reported(models, args, probe)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(report["rows"]))
    print(json.dumps(report))
    return 0


def _reported(models: dict[str, Any], args: argparse.Namespace, probe: Any) -> dict[str, Any]:
    """All rows and their circumstances; the file of --out grows with each: a later one may take too much memory."""
    report: dict[str, Any] = {"device": probe.facts(), "tiny": args.tiny, "rows": [],
                              "weights": "random, so there are no success rates"}
    for row in _rows(models, args, probe):
        report["rows"].append(row)
        report["figures"] = figures([] if args.tiny else report["rows"])
        print(_line(row), file=sys.stderr, flush=True)
        if args.out is not None:
            args.out.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _rows(models: dict[str, Any], args: argparse.Namespace, probe: Any) -> Iterator[dict[str, Any]]:
    from bench.truesize.measure import Bench, attempted, free

    for name, model in models.items():
        if (reason := model.unavailable()) is not None:
            yield {"model": name, **_FULL, "reason": reason}
            continue
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=args.scratch) as scratch:
            print(f"{name}: writing random weights to {scratch}", file=sys.stderr, flush=True)
            write(model, Path(scratch, "checkpoint"), args.tiny)
            folder = Path(scratch, "checkpoint")
            made = attempted(lambda folder=folder, model=model: {
                "bench": Bench(model, folder, probe, args.rounds, args.quantize_on)})
            for row in _of_model(made.pop("bench"), args) if "bench" in made else [_FULL | made]:
                yield {"model": name, **row}
            del made
        free()


def _of_model(bench: Any, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of one model as they are measured."""
    from bench.truesize.measure import attempted, free

    for runtime in sorted(args.runtimes, key=RUNTIMES.index):
        found = attempted(lambda runtime=runtime: bench.full_precision(runtime))
        yield _FULL | {"runtime": runtime, **found}
    for method in split_methods(args.method):
        found = attempted(lambda method=method: {"rows": bench.quantized(method, args.runtimes)})
        yield from found.get("rows", [{"method": method, "runtime": "eager", **found}])
        free()


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Goal -> the best that was measured, and whether it is met; None with a reason where nothing was."""
    found: dict[str, Any] = {}
    for model, name, sense, target in GOALS:
        values = [value for row in rows if row["method"] != "fp" and model in ("any", row["model"])
                  and (value := _value(row, name)) is not None]
        best = (max if (sense == ">=") != (model == "any") else min)(values) if values else None
        met = None if best is None else best >= target if sense == ">=" else best <= target
        found[f"{model}.{name}"] = {"value": best, "target": f"{sense} {target:g}", "met": met,
                                    "reason": None if values else "no variant of true size gave a figure"}
    return found


def _value(row: dict[str, Any], name: str) -> float | None:
    if name == "speedup":
        return row.get("speedup_over_bf16_eager", {}).get("median")
    return row.get("quantize_host_memory_over_checkpoint" if name.startswith("host") else name)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text."""
    head = (f"{'model':16}{'method':16}{'runtime':9}{'load s':>8}{'weights GB':>12}{'peak GB':>9}{'p50 ms':>9}"
            f"{'p95 ms':>9}{'1/s':>7}{'speed-up':>10}  stages, ms (median)")
    return "\n".join([head, "-" * len(head), *map(_line, rows)])


def _line(row: dict[str, Any]) -> str:
    first = f"{row['model']:16}{row['method']:16.15}{row['runtime']:9}"
    if "latency_ms" not in row:
        return f"{first}  not measured: {row.get('reason')}"
    ratio = row.get("speedup_over_bf16_eager", {}).get("median", row.get("speedup_over_eager"))
    peak = row["peak_device_bytes"]
    stages = "  ".join(f"{stage} {ms['p50']:.2f}" for stage, ms in row.get("stages_ms", {}).items())
    held = "-" if peak is None else f"{peak / 1e9:.3f}"
    return (f"{first}{row['load_s']:8.1f}{row['weight_bytes'] / 1e9:12.3f}{held:>9}"
            f"{row['latency_ms']['p50']:9.2f}{row['latency_ms']['p95']:9.2f}{row['decisions_per_s']:7.1f}"
            f"{'-' if ratio is None else f'{ratio:.2f}x':>10}  {stages}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help=f"of {', '.join(MODELS)} (default: all)")
    parser.add_argument("--method", default=METHODS, help="methods separated by blanks (default: %(default)s)")
    parser.add_argument("--runtimes", nargs="+", default=list(RUNTIMES),
                        help="of eager, compile (torch.compile), graphs (with CUDA graphs) (default: all)")
    parser.add_argument("--quantize-on", choices=["host", "device"], default="host",
                        help="where methods work: in the memory of the host, or on the GPU (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="decisions of each variant (default: %(default)s)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()),
                        help="folder for checkpoints, emptied afterwards (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--tiny", action="store_true", help="tiny networks on a CPU: whether it works, not how fast")
    return parser


if __name__ == "__main__":
    sys.exit(main())
