"""The `serve` command's options. Nothing heavy is imported before it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_serve(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    serve = commands.add_parser(
        "serve", help="serve a policy, quantized or not, by openpi's websocket protocol",
        description="Clients of openpi's servers connect unchanged. GET /healthz, /version and /status say how it is "
                    "doing. The first line on stdout is one JSON object with the address.")
    serve.add_argument("--policy", help="name of a policy, or folder of a saved quantized variant")
    serve.add_argument("--method", help="one method (default: fp, or what is saved)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine "
                       "alone; 0.0.0.0 is every network)")
    serve.add_argument("--port", type=int, default=8000, help="0: any free one (default: %(default)s)")
    serve.add_argument("--token", help="what clients must send as Authorization: Api-Key TOKEN (default: "
                       "$QVLA_BENCH_TOKEN, or none)")
    serve.add_argument("--device", default="cpu", help="device of the network, such as cuda (default: %(default)s)")
    serve.add_argument("--threads", type=int, help="CPU threads (default: all usable CPUs)")
    serve.add_argument("--max-batch", type=int, default=8, help="requests answered together at most (default: "
                       "%(default)s)")
    serve.add_argument("--max-wait-ms", type=float, default=5.0, help="time that a request waits for those of other "
                       "connections at most (default: %(default)s)")
    serve.add_argument("--max-message-mb", type=float, default=16.0, help="longest message (default: %(default)s)")
    serve.add_argument("--allow-unsupported", action="store_true",
                       help="serve although the method cannot quantize a layer that it wanted")
    serve.set_defaults(command=_serve)


def _serve(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.serve.command import serve

    return serve(args)
