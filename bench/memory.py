"""The greatest memory that a process took since a moment: resident size as the system counted it, and PyTorch's."""

from __future__ import annotations

import sys
from pathlib import Path

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class PeakMemory:
    """Counts from its creation on. It includes everything the process ever kept, simulator and earlier models too."""

    def __init__(self) -> None:
        self._works = STATUS.exists() and _reset()
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int | None:
        """Bytes, or None where the system cannot restart its count."""
        if not self._works:
            return None
        line = next(x for x in STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


    def peak_device_bytes(self) -> int | None:
        """Bytes that PyTorch had allocated on the accelerator, None if this process uses none."""
        cuda = _cuda()
        return None if cuda is None else cuda.max_memory_allocated()


def _cuda():
    """`torch.cuda` if this process has used it: asking must not create a context on a card that nobody wanted."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _reset() -> bool:
    """Set the high-water mark to the present size; "5" does that on Linux, other systems have no such file."""
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True
