"""Short synthetic episodes, and a folder of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.demos import parts
from bench.demos.episode import Episode
from bench.demos.plan import RoundTerms, Task, agree

STEPS = 7


def make_episode(number: int, task: int = 0, success: bool = True, driver: str = "expert", nq: int = 4) -> Episode:
    """Seven steps of noise with decisions before steps 0 and 4."""
    rng = np.random.default_rng([number, task])
    decisions = np.arange(STEPS) % 4 == 0
    return Episode(
        "libero_object", task, f"pick up thing {task}", number, 1000 + number, driver, success, "sha256:a",
        rng.normal(size=(1, 7)), rng.normal(size=(STEPS, 8)).astype(np.float32),
        rng.uniform(-1, 1, (STEPS, 7)).astype(np.float32), np.arange(STEPS) == (STEPS - 1 if success else STEPS),
        rng.normal(size=(STEPS, 1 + 2 * nq)), rng.normal(size=(STEPS, nq)), decisions,
        rng.uniform(-1, 1, (STEPS, 8, 7)).astype(np.float32) * decisions[:, None, None],
        rng.normal(size=(STEPS, 7)).astype(np.float32), np.ones(STEPS, bool), np.full(STEPS, 0.3, np.float32),
    )


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    """Round 0 of two tasks with three and two episodes; the second has larger states, and one that failed."""
    found = [Task(tmp_path, 0, "libero_object", index) for index in range(2)]
    agree(tmp_path, 0, RoundTerms("expert", 1.0, "sha256:a"))
    for number in range(3):
        parts.save(found[0].part(number), make_episode(number))
    for number in range(2):
        parts.save(found[1].part(number), make_episode(number, task=1, success=number == 0, nq=6))
    return found
