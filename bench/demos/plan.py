"""Where a round's files are, which seeds its episodes have, and what may not change while it is collected.

    DATA/parts/round0/libero_goal-3/00017.parquet    an episode; its file exists = it is done
    DATA/parts/round0/round.json                     who drives
    DATA/round0/libero_goal/                         the same episodes as a LeRobot data set
    DATA/frames/round0/libero_goal-3/                decisions with pictures, for training
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import UsageError, unknown
from envs.libero import env as libero
from envs.libero.suite import SUITES

ASSETS = "builtin"
"""The pack that everybody has."""


@dataclass(frozen=True)
class Task:
    """One task of one round."""

    data: Path
    """Folder of all rounds."""
    round: int
    """Number of the round."""
    suite: str
    """Name of the suite."""
    index: int
    """Index of the task in its suite."""

    @property
    def name(self) -> str:
        """For example "libero_goal-3"."""
        return f"{self.suite}-{self.index}"

    @property
    def parts(self) -> Path:
        """Folder of the episodes, a file each."""
        return self.data / "parts" / f"round{self.round}" / self.name

    @property
    def frames(self) -> Path:
        """Folder of the decisions with pictures."""
        return self.data / "frames" / f"round{self.round}" / self.name

    @property
    def draft(self) -> Path:
        """Folder in which `frames` is made, apart from it so that nobody reads half of it."""
        return self.data / "drafts" / f"round{self.round}" / self.name

    @property
    def dataset(self) -> Path:
        """The LeRobot data set of the suite, which all its tasks share."""
        return self.data / f"round{self.round}" / self.suite

    def part(self, number: int) -> Path:
        """File of episode `number`."""
        return self.parts / f"{number:05d}.parquet"

    def collected(self) -> list[Path]:
        """The files of all finished episodes, in order."""
        return sorted(self.parts.glob("[0-9]*.parquet"))

    def seed(self, number: int) -> int:
        """31 bits for episode `number`; no other task, round or number shares them but by chance."""
        text = f"training {self.suite} {self.index} {self.round} {number}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


@dataclass(frozen=True)
class RoundTerms:
    """What all episodes of a round have in common."""

    driver: str
    """"expert", or name and digest of the policy."""
    beta: float
    """Share of a policy's decisions that the expert drives."""
    assets: str
    """Digest of the assets."""


def agree(data: Path, number: int, terms: RoundTerms) -> None:
    """Write down the terms of a round, or raise `UsageError` if it was begun under other ones."""
    path = data / "parts" / f"round{number}" / "round.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(asdict(terms), indent=2) + "\n")
        draft.replace(path)
    begun = json.loads(path.read_text())
    for field, wanted in asdict(terms).items():
        if begun.get(field) != wanted:
            raise UsageError(f"round {number} in {data} was begun with {field} {begun.get(field)!r}, now it is "
                             f"{wanted!r}; take another ROUND, or remove {path.parent}")


def terms(data: Path, number: int) -> RoundTerms:
    """The terms of a round; raises `UsageError` naming the rounds that there are."""
    path = data / "parts" / f"round{number}" / "round.json"
    if not path.is_file():
        there = sorted(folder.name for folder in (data / "parts").glob("round*"))
        raise UsageError(f"{data} has no round {number}; there are: {', '.join(there) or 'none'}; "
                         f"make pocket-data ROUND={number} collects it")
    return RoundTerms(**json.loads(path.read_text()))


def select(data: Path, number: int, suites: Sequence[str], indices: Sequence[int] | None = None) -> list[Task]:
    """The tasks `indices` (all) of each suite. Raises `UsageError` for an unknown suite or task or a negative round."""
    if number < 0:
        raise UsageError(f"round {number} is not legal; rounds count from 0")
    if not suites:
        raise UsageError(f"no suite is named; legal: {', '.join(SUITES)}")
    chosen = []
    for suite in dict.fromkeys(suites):
        if suite not in SUITES:
            raise UsageError(unknown("suite", suite, SUITES))
        listed = [task.index for task in libero.tasks(suite)]
        for index in listed if indices is None else indices:
            if index not in listed:
                raise UsageError(f"suite {suite!r} has tasks 0..{len(listed) - 1}, got {index}")
            chosen.append(Task(data, number, suite, index))
    return chosen
