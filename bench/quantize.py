"""The `quantize` command: make one variant and keep it as files."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from bench.errors import UsageError
from bench.provenance import usable_cpus
from bench.saved import VARIANTS
from bench.variants import build, make_variants, require_supported, split_methods
from policies.registry import POLICIES
from quantizers.saved import Origin, StorageError, folder_bytes, require_free


def quantize(args: argparse.Namespace) -> int:
    """Quantize, save, print the sizes and, last, one JSON line. Names and the place are checked before the work."""
    methods = split_methods(args.method)
    if len(methods) != 1:
        raise UsageError(f"method must be one method, got {methods}; run the command once for each")
    policy = args.policy or next(name for name, entry in POLICIES.items() if entry.quantizable)
    made = make_variants(policy, methods)
    if len(made) == 1:
        raise UsageError(f"method {methods[0]!r} quantizes nothing, so there is nothing to save but the checkpoint")
    variant = made[1]
    folder = Path(args.out) if args.out else VARIANTS / default_name(policy, variant.method)
    try:
        require_free(folder)
        import torch

        from quantizers.audit import QuantAudit
        from quantizers.storage import save_quantized

        torch.set_num_threads(usable_cpus() if args.threads is None else args.threads)
        instance, audit = build(variant)
        if not args.allow_unsupported:
            require_supported(variant, audit)
        origin = Origin(policy, variant.method, variant.weights, instance.network_config())
        wide = save_quantized(instance.module, folder, QuantAudit.from_json(audit), origin)
    except StorageError as error:
        raise UsageError(str(error)) from error
    written, full = folder_bytes(folder), audit["storage_bytes_full"]
    print(f"wrote {folder}: {written:,} bytes; the full-precision network takes {full:,} as float16"
          + (f", which would change {wide} tensors that were kept; they are saved as float32" if wide else ""))
    print(json.dumps({"folder": str(folder), "policy": policy, "method": variant.method, "bytes": written,
                      "storage_bytes": audit["storage_bytes"], "storage_bytes_full": full}))
    return 0


def default_name(policy: str, method: str) -> str:
    """A name that the same policy and method always get."""
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", f"{policy}-{method}").strip("-")
