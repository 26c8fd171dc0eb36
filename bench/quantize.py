"""The `quantize` command: make one variant and keep it as files."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from bench.errors import UsageError
from bench.provenance import usable_cpus
from bench.saved import VARIANTS
from bench.variants import build, one_variant, require_supported
from quantizers.saved import Origin, StorageError, folder_bytes, require_free


def quantize(args: argparse.Namespace) -> int:
    """Quantize, save, print the sizes and, last, one JSON line. Names and the place are checked before the work."""
    variant = one_variant(args.policy, args.method)
    if variant.baseline:
        raise UsageError(f"method {variant.method!r} quantizes nothing, so there is nothing to save but the checkpoint")
    folder = Path(args.out) if args.out else VARIANTS / default_name(variant.policy, variant.method)
    try:
        require_free(folder)
        import torch

        from quantizers.audit import QuantAudit
        from quantizers.storage import save_quantized

        torch.set_num_threads(usable_cpus() if args.threads is None else args.threads)
        policy, audit = build(variant)
        if not args.allow_unsupported:
            require_supported(variant, audit)
        origin = Origin(variant.policy, variant.method, variant.weights, policy.network_config())
        wide = save_quantized(policy.module, folder, QuantAudit.from_json(audit), origin)
    except StorageError as error:
        raise UsageError(str(error)) from error
    written, full = folder_bytes(folder), audit["storage_bytes_full"]
    print(f"wrote {folder}: {written:,} bytes; the full-precision network takes {full:,} as float16"
          + (f", which would change {wide} tensors that were kept; they are saved as float32" if wide else ""))
    print(json.dumps({"folder": str(folder), "policy": variant.policy, "method": variant.method, "bytes": written,
                      "storage_bytes": audit["storage_bytes"], "storage_bytes_full": full}))
    return 0


def default_name(policy: str, method: str) -> str:
    """A name that the same policy and method always get."""
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", f"{policy}-{method}").strip("-")
