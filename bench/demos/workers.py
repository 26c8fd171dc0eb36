"""Jobs over processes, a fresh process a job: a process draws for one scene, and leaves nothing for the next."""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from bench.errors import BenchError

Job = TypeVar("Job")
_steps: multiprocessing.Queue | None = None
"""Of this worker: where it tells of each finished step."""


def available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _begin(steps: multiprocessing.Queue) -> None:
    global _steps
    _steps = steps


def _do(work: Callable[[Job], Iterable[str | None]], job: Job) -> None:
    for line in work(job):
        _steps.put(line)


def spread(work: Callable[[Job], Iterable[str | None]], jobs: Mapping[str, Job], steps: Callable[[Job], int],
           workers: int, unit: str) -> None:
    """Run `work(job)` for all jobs; it yields None for each finished step, or a line to show.

    `work` and the jobs must be picklable. An error is shown with the name of its job and does not keep the others from
    ending; then the first is raised. `steps` tells how much a job adds to the progress bar, on stderr.
    """
    context = multiprocessing.get_context("spawn")
    told, failed = context.Queue(), []
    total = sum(steps(job) for job in jobs.values())
    with tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, smoothing=0.05) as bar, \
            ProcessPoolExecutor(workers, context, _begin, (told,), max_tasks_per_child=1) as pool:
        names = {pool.submit(_do, work, job): name for name, job in jobs.items()}
        pending = set(names)
        while pending:
            _show(told, bar)
            done, pending = wait(pending, timeout=0.2, return_when="FIRST_COMPLETED")
            for job in done:
                if (error := job.exception()) is not None:
                    bar.write(f"error in {names[job]}: {type(error).__name__}: {error}", file=sys.stderr)
                    failed.append(error)
        _show(told, bar)
    if failed and isinstance(failed[0], BrokenProcessPool):
        raise BenchError("a worker was killed, perhaps for want of memory; the same command goes on, try fewer workers")
    if failed:
        raise failed[0]


def _show(told: multiprocessing.Queue, bar: tqdm) -> None:
    while True:
        try:
            line = told.get(timeout=0.05)
        except queue.Empty:
            return
        if line is None:
            bar.update()
        else:
            bar.write(line, file=sys.stderr)
