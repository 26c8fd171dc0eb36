"""Where calibration observations come from, how many are taken, and that none of them is evaluated on.

`--calibration` takes a JSON Lines file of image paths and prompts, a LeRobot data set, a folder of training decisions,
or an earlier run whose full-precision observations were recorded; without it the policy's own serve.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError, unknown
from bench.spec import EpisodeKey
from envs.types import Observation

if TYPE_CHECKING:  # it imports torch, and names are checked before that
    from quantizers.calibration import CalibrationSet

CHOICES = ("spread", "random", "first")
"""Which observations are taken: evenly from first to last, drawn by a seed, or the first."""
SAMPLES = 64
"""Observations that are taken of a source of the user's own, unless there are fewer."""
BATCH = 8
"""Observations in one calibration batch."""
Seen = tuple[Observation, str]
"""An observation, and the name of the episode that it is from."""


@dataclass(frozen=True)
class Views:
    """What a policy wants to see."""

    cameras: tuple[str, ...]
    """Names of its cameras."""
    image_size: int
    """Side of its square pictures, in pixels."""
    keys: dict[str, str]
    """Camera -> name of its pictures in the source, for those that the user named."""
    state: bool = True
    """Whether it reads proprioception; a source need not have any for one that does not."""


@dataclass(frozen=True)
class Source:
    """Observations that can be chosen from before they are loaded."""

    name: str
    """Where they come from, for messages."""
    count: int
    """How many there are."""
    load: Callable[[Sequence[int]], list[Seen]]
    """Rising indices to observations."""


@dataclass(frozen=True)
class Choice:
    """How much is taken of a source."""

    samples: int | None = None
    """Observations; None for all of the policy's own, or `SAMPLES` of another source."""
    how: str = "spread"
    """One of `CHOICES`."""
    seed: int = 0
    """Decides what "random" draws."""

    def __post_init__(self) -> None:
        if self.how not in CHOICES:
            raise UsageError(unknown("calibration choice", self.how, CHOICES))
        if self.samples is not None and self.samples < 1:
            raise UsageError(f"calibration samples must be 1 or more, got {self.samples}")

    def of(self, source: Source, usual: int) -> list[int]:
        """Rising indices into a source, `usual` of them unless a number was asked for.

        Raises `UsageError` if the source has fewer than were asked for.
        """
        wanted = min(usual, source.count) if self.samples is None else self.samples
        if not 0 < wanted <= source.count:
            raise UsageError(f"{source.name} has {source.count} observations, {wanted} were asked for; name a smaller "
                             "number with --calibration-samples, or another source")
        if self.how == "first":
            return list(range(wanted))
        if self.how == "random":
            return sorted(random.Random(self.seed).sample(range(source.count), wanted))
        # Middles of equal parts, so that neither end is preferred.
        return [(2 * index + 1) * source.count // (2 * wanted) for index in range(wanted)]


def open_source(path: Path, views: Views) -> Source:
    """The source that a path means. Raises `UsageError` if it means none."""
    from bench.sources import frames, jsonl, lerobot, recorded

    if path.is_file():
        return jsonl.source(path, views)
    if (path / "meta" / "info.json").is_file():
        return lerobot.source(path, views)
    if (path / "images.npy").is_file():
        return frames.source(path, views)
    if (path / "header.json").is_file():
        return recorded.source(path)
    problem = "is not there"
    if path.is_dir():
        problem = ("is a folder without meta/info.json (a LeRobot data set), images.npy (training decisions) and "
                   "header.json (a run)")
    raise UsageError(f"calibration source {path} {problem}; give a JSON Lines file of images and prompts, a LeRobot "
                     "data set, or a run with recorded observations")


def calibration_set(policy: Any, source: Source | None, choice: Choice) -> CalibrationSet:
    """The chosen observations of `source`, or of the policy's own if it is None, as batches of the policy."""
    from quantizers.calibration import CalibrationSet

    if source is None:
        observations, episodes = policy.calibration_observations()
        own = list(zip(observations, episodes, strict=True))
        source, usual = Source(f"policy {policy.name!r}", len(own), lambda indices: [own[i] for i in indices]), len(own)
    else:
        usual = SAMPLES
    seen = source.load(choice.of(source, usual))
    batches = [policy.batch([observation for observation, _ in seen[i:i + BATCH]]) for i in range(0, len(seen), BATCH)]
    return CalibrationSet.of(batches, [episode for _, episode in seen])


def overlap(episodes: Iterable[str], keys: Iterable[EpisodeKey]) -> list[str]:
    """Calibration episodes that begin in an init state in which an episode of `keys` begins, whatever the seed."""
    evaluated = {f"{key.suite}-{key.task}-{key.init_state}" for key in keys}
    return sorted({name for name in episodes if name.rpartition("-")[0] in evaluated})


def refuse_overlap(what: str, episodes: Iterable[str], keys: Iterable[EpisodeKey]) -> None:
    """Raise `UsageError` if `what` was calibrated on episodes that it would be evaluated on."""
    shared = overlap(episodes, keys)
    if shared:
        raise UsageError(f"{what} was calibrated on {len(shared)} of the episodes that it would be evaluated on, first "
                         f"{shared[0]}; evaluate other init states, or calibrate on training episodes")
