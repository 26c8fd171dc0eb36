"""Calibration observations from a run: what full precision saw at its decisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import UsageError
from bench.recorders import load_observations
from bench.sources.source import Seen, Source


def source(run: Path) -> Source:
    """All recorded decisions; episodes go by the names of their keys, so that evaluating on them can be refused."""
    files = sorted((run / "observations").glob("*.npz"))
    if not files:
        raise UsageError(f"run {run} has no recorded observations of full precision; only runs with a quantized "
                         "variant record them")
    counts = [_decisions(path) for path in files]
    ends = np.cumsum(counts)

    def load(indices: Sequence[int]) -> list[Seen]:
        found: list[Seen] = []
        for number, path in enumerate(files):
            first = ends[number] - counts[number]
            own = [index - first for index in indices if first <= index < ends[number]]
            observations = load_observations(path)[0] if own else []
            found += [(observations[index], path.stem) for index in own]
        return found

    return Source(f"run {run}", int(ends[-1]), load)


def _decisions(path: Path) -> int:
    with np.load(path) as data:
        return len(data["states"])
