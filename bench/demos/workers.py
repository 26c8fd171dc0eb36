"""Jobs over processes, a fresh process a job: a process draws for one scene, and leaves nothing for the next."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from tqdm import tqdm

from bench.errors import BenchError, WorkerError
from envs.types import EnvironmentError_

Job = TypeVar("Job")


def available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def spread(work: Callable[[Job], Iterable[str | None]], jobs: Mapping[str, Job], steps: Callable[[Job], int],
           workers: int, unit: str) -> None:
    """Run `work(job)` for all jobs; it yields None for each finished step, or a line to show.

    `work` and the jobs must be picklable. An error is shown with the name of its job and does not keep the others from
    ending; then `WorkerError` is raised. `steps` tells how much a job adds to the progress bar, on stderr.
    """
    context = multiprocessing.get_context("spawn")
    waiting, failed = list(jobs.items()), []
    running: dict[Connection, tuple[str, multiprocessing.process.BaseProcess]] = {}
    total = sum(steps(job) for job in jobs.values())
    with tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, smoothing=0.05) as bar:
        while waiting or running:
            while waiting and len(running) < workers:
                name, job = waiting.pop(0)
                told, teller = context.Pipe(duplex=False)
                process = context.Process(target=_do, args=(teller, work, job), daemon=True)
                process.start()
                teller.close()
                running[told] = name, process
            for told in wait(list(running)):
                name, process = running[told]
                error = _hear(told, bar)
                if told.closed:
                    del running[told]
                    process.join()
                    if process.exitcode:
                        error = f"was ended by the system (exit code {process.exitcode}), perhaps for want of memory"
                if error is not None:
                    bar.write(f"error in {name}: {error}", file=sys.stderr)
                    failed.append(f"{name}: {error}")
    if failed:
        raise WorkerError(f"{len(failed)} of {len(jobs)} tasks ended in an error, the first was {failed[0]}\n"
                          "what is finished is kept, and the same command goes on from there")


def _hear(told: Connection, bar: tqdm) -> str | None:
    """Take one message of a worker, None if it was no error; the connection is closed if it was the last."""
    try:
        kind, text = told.recv()
    except EOFError:
        told.close()
        return None
    if kind == "error":
        return text
    if text is None:
        bar.update()
    else:
        bar.write(text, file=sys.stderr)
    return None


def _do(teller: Connection, work: Callable[[Job], Iterable[str | None]], job: Job) -> None:
    try:
        for line in work(job):
            teller.send(("line", line))
    except (BenchError, EnvironmentError_) as error:
        teller.send(("error", str(error)))
    except Exception:
        # Nobody expected it, so where it came from is told as well.
        teller.send(("error", traceback.format_exc()))
