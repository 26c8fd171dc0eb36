"""The `quantize` command: make one variant and keep it as files."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.policies import policy_entry
from bench.provenance import usable_cpus
from bench.saved import VARIANTS
from bench.sources.source import SAMPLES, Choice, Views, calibration_set, open_source
from bench.spec import PolicyVariant
from bench.variants import build, one_variant, require_supported
from quantizers.registry import METHODS
from quantizers.saved import Origin, StorageError, folder_bytes, require_free

if TYPE_CHECKING:
    from policies.base import Policy
    from quantizers.calibration import CalibrationSet


def quantize(args: argparse.Namespace) -> int:
    """Quantize, save, print the sizes and, last, one JSON line. Names and the place are checked before the work."""
    variant = one_variant(args.policy, args.method)
    if variant.baseline:
        raise UsageError(f"method {variant.method!r} quantizes nothing, so there is nothing to save but the checkpoint")
    folder = Path(args.out) if args.out else VARIANTS / default_name(variant.policy, variant.method)
    calibrate = calibrated_by(args, variant)
    try:
        require_free(folder)
        import torch

        from quantizers.audit import QuantAudit
        from quantizers.storage import save_quantized

        torch.set_num_threads(usable_cpus() if args.threads is None else args.threads)
        policy, audit = build(variant, calibrate)
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
                      "calibration_digest": audit["calibration_digest"],
                      "storage_bytes": audit["storage_bytes"], "storage_bytes_full": full}))
    return 0


def calibrated_by(args: argparse.Namespace, variant: PolicyVariant) -> Callable[[Policy], CalibrationSet]:
    """What makes the calibration set that the options ask for; a source is opened and checked here.

    Raises `UsageError` for options that are not legal or that the method does not look at.
    """
    choice = Choice(args.calibration_samples, args.calibration_choice, args.seed)
    asked = {"--calibration": args.calibration, "--calibration-samples": args.calibration_samples,
             "--cameras": args.cameras}
    given = [name for name, value in asked.items() if value is not None]
    if given and not METHODS[variant.config["method"]].needs_calibration:
        raise UsageError(f"method {variant.method!r} looks at no data, so {given[0]} means nothing for it")
    if args.calibration is None:
        if args.cameras is not None:
            raise UsageError("--cameras names the pictures of a source, so it needs --calibration")
        return lambda policy: calibration_set(policy, None, choice)
    entry = policy_entry(variant.policy)
    if entry.trained_on is None or not entry.trained_on.cameras or entry.trained_on.image_size is None:
        raise UsageError(f"policy {variant.policy!r} does not declare its cameras and the size of their pictures in "
                         "policies/registry.py, so a source cannot be fitted to it; use its own observations")
    trained = entry.trained_on
    views = Views(trained.cameras, trained.image_size, camera_names(args.cameras, trained.cameras),
                  trained.state != "none")
    source = open_source(Path(args.calibration), views)
    choice.of(source, SAMPLES)
    return lambda policy: calibration_set(policy, source, choice)


def camera_names(text: str | None, cameras: Sequence[str]) -> dict[str, str]:
    """Camera -> name of "camera=name,camera=name". Raises `UsageError` for one that the policy does not have."""
    found = {}
    for part in filter(None, (text or "").split(",")):
        camera, equals, name = part.partition("=")
        if camera.strip() not in cameras or not equals or not name:
            raise UsageError(f"--cameras {text!r}: {part!r} is not CAMERA=NAME with a camera among "
                             f"{', '.join(cameras)}")
        found[camera.strip()] = name.strip()
    return found


def default_name(policy: str, method: str) -> str:
    """A name that the same policy and method always get."""
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", f"{policy}-{method}").strip("-")
