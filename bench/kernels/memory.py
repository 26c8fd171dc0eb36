"""By how much a process grows that loads a quantized folder and nothing else, and what the folder takes on disk."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from bench.figure import figure
from bench.variants import package_root
from quantizers.audit import QuantAudit
from quantizers.ledger import held_bytes
from quantizers.saved import MODEL, Origin
from quantizers.storage import save_quantized

_GROWTH = """
import gc, json, sys
from pathlib import Path
from policies.registry import POLICIES, policy_class
from quantizers.storage import load_quantized_
name, folder, network, copies = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
kind, held = policy_class(POLICIES[name]), []
def load():
    if not folder:
        held.append(kind().module)
        return
    held.append(kind.skeleton(network).module)
    load_quantized_(held[-1], Path(folder))
def size():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
load(), load()
before = size()
for _ in range(copies):
    load()
print((size() - before) // copies)
"""
"""Prints by how many bytes a process grows per network that it loads, beyond the first two: those bring libraries,
allocators and threads along, which are there once."""
COPIES = 6


def growth(policy: Any, folder: Path | None) -> int:
    """Bytes of resident memory per network loaded from `folder`, of the full-precision policy for None."""
    command = [sys.executable, "-c", _GROWTH, policy.name, "" if folder is None else str(folder),
               json.dumps(policy.network_config()), str(COPIES)]
    done = subprocess.run(command, cwd=package_root(), capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def figures(policy: Any, modules: Mapping[str, nn.Module], audits: Mapping[str, QuantAudit]) -> dict[str, Any]:
    """Resident growth over float32's and over what is counted, and the file of packed layers over its stated bits."""
    plain = growth(policy, None)
    found = {"float32_resident_bytes": figure(plain, None, None)}
    for method, audit in audits.items():
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "saved"
            save_quantized(modules[method], folder, audit, Origin(policy.name, method, None, policy.network_config()))
            grown, file_bytes = growth(policy, folder), (folder / MODEL).stat().st_size
        name = method.replace(":", "_") if method.startswith("rtn") else "qvla_4_mean_bits"
        held = held_bytes(modules[method])
        print(f"{method}: grows by {grown:,}, counted {held:,}; file {file_bytes:,}, counted {audit.storage_bytes:,}",
              flush=True)
        found |= {
            f"{name}_resident_bytes": figure(grown, None, None),
            f"{name}_resident_over_counted": figure(grown / held, None, None),
            f"{name}_resident_over_float32": figure(grown / plain if plain else None, None, None,
                                                    None if plain else "float32 takes less than a page"),
            f"{name}_file_over_counted": figure(file_bytes / audit.storage_bytes, None, None),
        }
    return {f"{policy.name}.{name}": value for name, value in found.items()}
