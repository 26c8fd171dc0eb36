"""The `export` command: a saved variant in a layout that other software reads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.saved import load_network, saved_config
from quantizers.saved import StorageError, folder_bytes, require_free

FORMATS = ("compressed-tensors",)
"""Layouts that can be written."""


def export(args: argparse.Namespace) -> int:
    """Load, write, print the sizes and, last, one JSON line. Names and the place are checked before the work."""
    if args.format not in FORMATS:
        raise UsageError(unknown("format", args.format, FORMATS))
    source, folder = Path(args.policy), Path(args.out)
    config = saved_config(source)
    try:
        require_free(folder)
        from quantizers.compressed import export_compressed

        policy, _ = load_network(config.origin.policy, source)
        export_compressed(policy.module, folder, config.origin)
    except StorageError as error:
        raise UsageError(str(error)) from error
    print(f"wrote {folder}: {folder_bytes(folder):,} bytes; {source} has {folder_bytes(source):,}")
    print(json.dumps({"folder": str(folder), "format": args.format, "policy": config.origin.policy,
                      "method": config.origin.method, "bytes": folder_bytes(folder)}))
    return 0
