"""The most memory of its own that this process held while something ran; files that it maps do not count.

A mapped checkpoint is counted as resident too, though the system drops its pages as it likes. The system's own
high-water mark cannot tell the two apart, so the size is sampled.
"""

from __future__ import annotations

import threading
from pathlib import Path

STATUS = Path("/proc/self/status")
PERIOD_S = 0.005
"""Between two samples."""


class HostMemory:
    """A context manager; then `peak_bytes` is by how much the process grew at most, None where that is unknown."""

    def __enter__(self) -> HostMemory:
        self.peak_bytes: int | None = None
        self._before = anonymous_bytes()
        if self._before is not None:
            self.peak_bytes, self._done = 0, threading.Event()
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            self._done.set()
            self._thread.join()
            self.look()

    def _sample(self) -> None:
        while not self._done.wait(PERIOD_S):
            self.look()

    def look(self) -> None:
        """Take a sample now."""
        self.peak_bytes = max(self.peak_bytes, anonymous_bytes() - self._before)


def anonymous_bytes() -> int | None:
    """Resident memory that no file backs, None where the system does not say."""
    if not STATUS.exists():
        return None
    line = next((x for x in STATUS.read_text().splitlines() if x.startswith("RssAnon:")), None)
    return None if line is None else int(line.split()[1]) * 1024
