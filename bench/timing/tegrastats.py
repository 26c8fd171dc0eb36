"""Power rails, clocks, temperatures and power mode of a Jetson, as `tegrastats` and `nvpmodel` print them.

The format is in NVIDIA's Jetson Linux Developer Guide, "tegrastats utility". A sensor that is switched off reads -256
degrees; it is left out, not reported.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

from bench.timing.monitor import Reading

INTERVAL_MS = 100

TOTAL_RAILS = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
"""Input rails of a Jetson AGX Orin, which make up the module's power together (developer guide, "Jetson AGX Orin
Series", power monitors). The other rails are fed by these."""

OFF_C = -256.0
"""What a sensor reads that is switched off."""

_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
_CPU = re.compile(r"\bCPU \[([^\]]*)\]")
_MEMORY = re.compile(r"\bEMC_FREQ (?:(\d+)%)?@(\d+)")
_GPU = re.compile(r"\bGR3D_FREQ (\d+)%(?:@\[?(\d+)(?:,(\d+))?\]?)?")
_HEAT = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
_RAIL = re.compile(r"\b((?:VDD|VIN|POM)\w*) (\d+)(?:mW)?/(\d+)(?:mW)?")


def stream_command() -> list[str]:
    """A command that prints a line per interval."""
    return ["tegrastats", "--interval", str(INTERVAL_MS)]


def parse_stream(line: str) -> Reading | None:
    """The reading of one line, None for a line that is none.

    `power_w` is the sum of `TOTAL_RAILS` where all of them are there; each rail stands by itself too.
    """
    ram = _RAM.search(line)
    if ram is None:
        return None
    reading: dict[str, float | str] = {"memory_used_mib": float(ram[1])}
    if cpu := _CPU.search(line):
        clocks = [float(core.partition("@")[2]) for core in cpu[1].split(",") if "@" in core]
        reading |= {"cpus_on": float(len(clocks))} | ({"cpu_mhz": max(clocks)} if clocks else {})
    if memory := _MEMORY.search(line):
        reading["memory_mhz"] = float(memory[2])
    if gpu := _GPU.search(line):
        reading["busy_percent"] = float(gpu[1])
        clocks = [float(clock) for clock in gpu.groups()[1:] if clock]
        reading |= {"gpu_mhz": max(clocks)} if clocks else {}
    for name, degrees in _HEAT.findall(line):
        if float(degrees) != OFF_C:
            reading[f"{name.lower()}_c"] = float(degrees)
    rails = {name: float(milliwatts) / 1000 for name, milliwatts, _ in _RAIL.findall(line)}
    reading |= {f"{name.lower()}_w": watts for name, watts in rails.items()}
    if all(name in rails for name in TOTAL_RAILS):
        reading["power_w"] = round(sum(rails[name] for name in TOTAL_RAILS), 3)
    return reading


def power_mode(run: Callable[..., Any] = subprocess.run) -> dict[str, Any]:
    """Name and number of the mode that `nvpmodel -q` reports, or the reason why it is not known."""
    try:
        done = run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"reason": f"nvpmodel cannot be run: {error}"}
    return parse_mode(done.stdout) or {"reason": f"nvpmodel answered {(done.stdout + done.stderr).strip()!r}"}


def parse_mode(text: str) -> dict[str, Any] | None:
    """`{"power_mode", "power_mode_number"}` of what `nvpmodel -q` prints, None if it names no mode."""
    name = re.search(r"^NV Power Mode:\s*(\S+)\s*$", text, re.MULTILINE)
    number = re.search(r"^\s*(\d+)\s*$", text, re.MULTILINE)
    if name is None:
        return None
    return {"power_mode": name[1], "power_mode_number": int(number[1]) if number else None}
