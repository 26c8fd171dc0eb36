"""The greatest resident size of this process since a moment, as the system counted it."""

from __future__ import annotations

from pathlib import Path

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class PeakMemory:
    """Counts from its creation on. It includes everything the process ever kept, simulator and earlier models too."""

    def __init__(self) -> None:
        self._works = STATUS.exists() and _reset()

    def peak_bytes(self) -> int | None:
        """Bytes, or None where the system cannot restart its count."""
        if not self._works:
            return None
        line = next(x for x in STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


def _reset() -> bool:
    """Set the high-water mark to the present size; "5" does that on Linux, other systems have no such file."""
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True
