"""A command that prints a line of readings per interval, read in the background while something is timed."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Reading = Mapping[str, float | str]
"""Name with unit -> what one line says; what it does not say is absent."""

PATIENCE_S = 10.0
"""How long the first line may take."""


class Monitor:
    """See `bench.timing.probe.Watch`. Readings before the first line are not waited for beyond `PATIENCE_S`."""

    def __init__(self, command: Sequence[str], parse: Callable[[str], Reading | None],
                 patience_s: float = PATIENCE_S) -> None:
        self._command, self._parse, self._patience_s = list(command), parse, patience_s
        self._readings: list[Reading] = []
        self._first = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._began = 0.0
        self.seconds: float | None = None
        """How long was listened, None before the end."""
        self.reason: str | None = None
        """Why nothing is heard, None if something is."""

    def __enter__(self) -> Monitor:
        try:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except OSError as error:
            self.reason = f"{self._command[0]} cannot be run: {error.strerror or error}"
            return self
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        if not self._first.wait(self._patience_s):
            self.reason = f"{self._command[0]} gave no readings within {self._patience_s:g} s"
        self._readings.clear()  # until now the device was idle
        self._began = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = time.perf_counter() - self._began
        if self._process is not None and self._thread is not None:
            self._process.terminate()
            self._process.wait()
            self._thread.join()
            self._process.stdout.close()

    def to_json(self) -> dict[str, Any]:
        """n, median, least and greatest of every number; how often each word was read."""
        if self.reason is None and not self._readings:
            return {"reason": f"{self._command[0]} gave no reading in {self.seconds:.2f} s"}
        return {"reason": self.reason} if self.reason else {"seconds": self.seconds} | summarise(self._readings)

    def _read(self) -> None:
        for line in self._process.stdout:
            reading = self._parse(line)
            if reading is not None:
                self._readings.append(reading)
                self._first.set()


def summarise(readings: Sequence[Reading]) -> dict[str, Any]:
    """Name -> n, median, least, greatest and mean of numbers, or word -> count."""
    names = list(dict.fromkeys(name for reading in readings for name in reading))
    summary: dict[str, Any] = {}
    for name in names:
        values = [reading[name] for reading in readings if name in reading]
        if all(isinstance(value, str) for value in values):
            summary[name] = {word: values.count(word) for word in dict.fromkeys(values)}
        else:
            summary[name] = {"n": len(values), "median": statistics.median(values), "min": min(values),
                             "max": max(values), "mean": statistics.fmean(values)}
    return summary
