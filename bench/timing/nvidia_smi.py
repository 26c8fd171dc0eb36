"""Clocks, throttling, power, memory and temperature of an NVIDIA card, as `nvidia-smi` prints them.

`nvidia-smi` is the management library's (NVML) own front end, so no further package is needed. The meaning of the
bits is in NVIDIA's NVML API reference, "NvmlClocksEventReasons".
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from typing import Any

from bench.timing.monitor import Reading

INTERVAL_MS = 100
"""Drivers renew the power reading about that often."""

STREAM = {
    "clocks.sm": "sm_mhz", "clocks.mem": "memory_mhz", "temperature.gpu": "gpu_c", "power.draw": "power_w",
    "memory.used": "memory_used_mib", "utilization.gpu": "busy_percent", "pstate": "pstate",
    "clocks_throttle_reasons.active": "throttle",
}
"""What is asked again and again -> what a reading calls it."""
STATIC = {
    "name": "name", "driver_version": "driver", "clocks.max.sm": "max_sm_mhz", "clocks.max.mem": "max_memory_mhz",
    "power.limit": "power_limit_w", "memory.total": "memory_total_mib",
}
"""What is asked once."""
WORDS = ("pstate", "throttle", "name", "driver")
"""What is no number."""

REASONS = {
    0x1: "idle", 0x2: "application clocks", 0x4: "power cap", 0x8: "hardware slowdown", 0x10: "sync boost",
    0x20: "thermal slowdown (software)", 0x40: "thermal slowdown (hardware)", 0x80: "power brake",
    0x100: "display clocks",
}
"""Bit -> why the clocks are not at their highest."""


def stream_command(index: int = 0) -> list[str]:
    """A command that prints a line per interval."""
    return _query(STREAM, index) + [f"--loop-ms={INTERVAL_MS}"]


def parse_stream(line: str) -> Reading | None:
    """The reading of one line of `stream_command`, None for a line that is none."""
    return _parse(line, STREAM)


def static_facts(index: int = 0, run: Callable[..., Any] = subprocess.run) -> dict[str, Any]:
    """Name, driver and limits of the card, or the reason why they are not known."""
    try:
        done = run(_query(STATIC, index), capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"reason": f"nvidia-smi cannot be run: {error}"}
    found = _parse(done.stdout, STATIC)
    return dict(found) if found else {"reason": f"nvidia-smi answered {(done.stdout + done.stderr).strip()!r}"}


def reasons(mask: int) -> str:
    """The reasons of a bit mask in words, "none" for 0; a bit without a name is shown as a number."""
    names = [REASONS.get(1 << bit, hex(1 << bit)) for bit in range(mask.bit_length()) if mask >> bit & 1]
    return " + ".join(names) or "none"


def _query(fields: dict[str, str], index: int) -> list[str]:
    return ["nvidia-smi", f"--id={index}", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]


def _parse(line: str, fields: dict[str, str]) -> dict[str, float | str] | None:
    cells = [cell.strip() for cell in next(csv.reader([line.strip()]), [])]
    if len(cells) != len(fields):
        return None
    reading: dict[str, float | str] = {}
    for name, cell in zip(fields.values(), cells, strict=True):
        if cell.strip("[]").lower() in ("n/a", "not supported", "unknown error", ""):
            continue
        try:
            reading[name] = reasons(int(cell, 16)) if name == "throttle" else cell if name in WORDS else float(cell)
        except ValueError:
            return None
    return reading
