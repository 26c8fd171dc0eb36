"""Several processes that play episodes of one run, each with its own policy and environments.

What an episode gives follows from its key alone, so it does not matter who plays it, nor when. The runner deals keys,
tasks to the process that has their scene open, and is the only one that writes records. A process that dies, for
whatever reason, costs the episode that it played, which becomes an error; another one takes its place.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from bench.batching import Desk
from bench.dealing import Deal
from bench.errors import sendable
from bench.folder import RunFolder
from bench.player import Player, failed
from bench.records import EpisodeRecord
from bench.spec import BenchSpec, EpisodeKey, PolicyVariant

Settings = tuple[BenchSpec, RunFolder, float, bool, str | None]
"""What a `Player` is made of."""


@dataclass
class _Worker:
    """One process."""

    process: BaseProcess
    """It."""
    pipe: Connection
    """Our end of the pipe to it."""
    playing: EpisodeKey | None = None
    """What it is playing."""


class Crew:
    """`count` processes. Use it as a context manager."""

    def __init__(self, count: int, spec: BenchSpec, folder: RunFolder, timeout_s: float, isolate: bool) -> None:
        self._open_things = ExitStack()
        desk = self._open_things.enter_context(Desk(spec, folder)).address if spec.batch > 1 else None
        self._settings: Settings = (spec, folder, timeout_s, isolate, desk)
        self._workers = [_Worker(*self._hired()) for _ in range(count)]

    def play(self, variant: PolicyVariant, keys: Sequence[EpisodeKey],
             keep_audit: Callable[[dict[str, Any] | None], None]) -> Iterator[EpisodeRecord]:
        """Records in the order in which they come; raises what preparing the variant raises, in whichever process."""
        deal = Deal(keys, len(self._workers))
        for worker in self._workers:
            self._give(worker, variant, deal)
        while busy := [w for w in self._workers if w.playing is not None]:
            for pipe in wait([w.pipe for w in busy]):
                worker = next(w for w in self._workers if w.pipe is pipe)
                try:
                    kind, content = worker.pipe.recv()
                except (EOFError, OSError):
                    yield self._lost(worker)
                    self._give(worker, variant, deal)
                    continue
                if kind == "raised":
                    raise content
                if kind == "audit":
                    keep_audit(content)
                    continue
                self._give(worker, variant, deal)
                yield content

    def _give(self, worker: _Worker, variant: PolicyVariant, deal: Deal) -> None:
        """Give a process its next key, if one is left."""
        worker.playing = deal.next(self._workers.index(worker))
        if worker.playing is not None:
            try:
                worker.pipe.send((variant, worker.playing))
            except OSError:
                pass  # it is dead, which the next look at its pipe tells

    def _lost(self, worker: _Worker) -> EpisodeRecord:
        """The record of what a dead process was playing; a new process takes its place."""
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        how = "of its own accord" if code is None or code == 0 else (
            f"with {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}")
        key = worker.playing
        _end(worker)
        worker.process, worker.pipe = self._hired()
        worker.playing = None
        return failed(self._settings[0], key, f"the process that played it ended {how}")

    def _hired(self) -> tuple[BaseProcess, Connection]:
        # A fork would copy the threads' locks of this process.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._settings))
        process.start()
        theirs.close()
        return process, ours

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            _end(worker)
        self._open_things.close()


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()


def _serve(pipe: Connection, settings: Settings) -> None:
    """Play what comes until the runner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    with Player(*settings) as player:
        while True:
            try:
                variant, key = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                new, audit = player.prepare(variant)
                if new:
                    pipe.send(("audit", audit))
                pipe.send(("record", player.play(key)))
            except Exception as error:
                pipe.send(("raised", sendable(error)))
