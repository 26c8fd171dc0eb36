"""Measure the quantizers against what this project promises of them: `make bench-quant`.

Nothing here runs a simulator. The last line on stdout is one JSON object that names every figure, with null and a
reason where there is nothing to say.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

import torch

from bench.figure import figure
from bench.kernels import cpu
from bench.quant.allocation import allocation_figures
from bench.quant.drift import Drifts, drift_figures, sensitivity_figures
from bench.variants import package_root
from policies.registry import POLICIES

PARTS = ("allocation", "drift", "sensitivity", "speed", "memory")
REPEATS = 3
"""Repetitions of what is timed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that were asked for."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    found: dict[str, Any] = allocation_figures() if "allocation" in args.parts else {}
    rows = {}
    for name in args.policy:
        drifts = Drifts(name)
        if "drift" in args.parts:
            found |= drift_figures(drifts, args.table)
        if "sensitivity" in args.parts:
            found |= sensitivity_figures(drifts)
        # Layers are the same for every policy, so speed is measured once.
        parts = [part for part in PARTS[3:] if part in args.parts and (part == "memory" or name == args.policy[0])]
        if parts:
            found |= cpu.figures(drifts.policy, parts, REPEATS)
        rows[name] = drifts.rows
    elsewhere = {
        "qvla_8_mean_bits_success_within_3_points": "closed loop: make bench METHOD=qvla:target_bits=8 TRIALS=5",
        "gram_and_released_equal_a_plain_loop": "held by tests/quantizers/test_gram.py and test_allocation.py",
        "dead_channels_cost_exactly_nothing": "held by tests/quantizers/test_sensitivity.py",
        "allocation_within_0.5_percent_of_dynamic_programming": "held by tests/quantizers/test_allocation.py",
    }
    found |= {name: figure(None, None, None, reason) for name, reason in elsewhere.items()}
    machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "threads": args.threads}
    print(json.dumps({"figures": found, "rows": rows, "machine": machine}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.quant", description=__doc__)
    networks = [name for name, entry in POLICIES.items() if entry.quantizable and entry.takes is None]
    trained = [name for name in networks
               if POLICIES[name].weights and (package_root() / POLICIES[name].weights).is_dir()]
    parser.add_argument("--policy", nargs="+", choices=networks, default=trained,
                        help="policies to quantize (default: those whose weights are here)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="figures to measure (default: all)")
    parser.add_argument("--table", action="store_true", help="also every method at every width (many minutes)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return parser


if __name__ == "__main__":
    main()
