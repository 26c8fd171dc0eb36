"""The progress bar: episodes with an ETA, success so far, control steps per second. On stderr, for stdout is data."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from bench.records import EpisodeRecord


class Progress:
    """A bar over all episodes of a run. Use it as a context manager."""

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self._bar = tqdm(total=total, initial=done, disable=not shown, file=sys.stderr, unit="ep", smoothing=0.1,
                         dynamic_ncols=True)
        self._began = time.perf_counter()
        self._steps = 0
        self._outcomes: dict[str, dict[str, int]] = {}

    def add(self, record: EpisodeRecord) -> None:
        """Count a finished episode."""
        tally = self._outcomes.setdefault(record.key.variant_id, {"success": 0, "failure": 0, "error": 0})
        tally[record.outcome] += 1
        self._steps += record.steps
        judged = tally["success"] + tally["failure"]
        rate = self._steps / (time.perf_counter() - self._began)
        errors = f", {tally['error']} errors" if tally["error"] else ""
        self._bar.set_description(record.key.variant_id, refresh=False)
        self._bar.set_postfix_str(f"success {tally['success']}/{judged}{errors}, {rate:.0f} steps/s", refresh=False)
        self._bar.update()

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._bar.write(text, file=sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()
