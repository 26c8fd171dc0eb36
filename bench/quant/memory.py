"""What a process grows by that loads a quantized folder."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.quant.drift import Drifts
from bench.quant.figure import figure
from bench.variants import package_root
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from quantizers.saved import Origin
from quantizers.storage import save_quantized

_GROWTH = """
import gc, json, sys
from pathlib import Path
from policies.registry import POLICIES, policy_class
from quantizers.storage import load_quantized_
name, folder, network = sys.argv[1:]
kind, size = policy_class(POLICIES[name]), lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = size()
policy = kind.skeleton(json.loads(network)) if folder else kind()
if folder:
    load_quantized_(policy.module, Path(folder))
gc.collect()
print(size() - before)
"""
"""Prints by how many bytes a process grows that loads a network and does nothing else."""


def memory_figures(drifts: Drifts) -> dict[str, Any]:
    """Growth of the resident size of a process that loads the network and nothing else."""
    module = copy.deepcopy(drifts.full)
    audit = quantize_(module, drifts.policy.layout, parse_method("rtn:w4a8"), drifts.calibration)
    network = json.dumps(drifts.policy.network_config())
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "saved"
        save_quantized(module, folder, audit, Origin(drifts.name, "rtn:w4a8", None, drifts.policy.network_config()))
        grown = {}
        for what, place in (("float32", ""), ("rtn:w4a8", str(folder))):
            command = [sys.executable, "-c", _GROWTH, drifts.name, place, network]
            grown[what] = int(subprocess.run(command, cwd=package_root(), capture_output=True, text=True, check=True)
                              .stdout.splitlines()[-1])
    print(f"resident growth: {grown}; counted {audit.held_bytes_full:,} and {audit.held_bytes:,}", flush=True)
    return {f"{drifts.name}.w4a8_resident_growth_over_float32":
                figure(grown["rtn:w4a8"] / grown["float32"], None, None)}
