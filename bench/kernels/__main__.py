"""Speed and memory of the kernels: `make bench-kernels`, or on a card `make bench-quant ARGS=--cuda`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure on the CPU, or with --cuda on a CUDA device; the last line on stdout is one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m bench.kernels", description=__doc__)
    parser.add_argument("--cuda", action="store_true", help="Linears of published policies on a CUDA device")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default: 1 and 2)")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions of each measurement (default: %(default)s)")
    args = parser.parse_args(arguments)
    if args.cuda:
        from bench.kernels.cuda import main as on_device

        return on_device()
    from bench.kernels.cpu import main as on_cpu

    return on_cpu(args.threads, args.repeats)


if __name__ == "__main__":
    sys.exit(main())
