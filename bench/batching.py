"""One policy for several workers: what they ask within a bounded wait is answered by one call of the network.

An accelerator is idle while one observation is on its way, and holds one copy of a large policy, not one per worker.
The desk is a process with the policy; workers hold a `bench.desk.DeskPolicy` in its place. A row of a batch depends on
its own observation and on the noise of its own episode, never on its neighbours, up to how a device rounds batches of
other sizes: `batch=1` is exact.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, Listener
from typing import Any, NamedTuple

import numpy as np

from bench.desk import Question
from bench.errors import UsageError, WorkerError, sendable
from bench.folder import RunFolder
from bench.player import prepared
from bench.policies import policy_entry
from bench.spec import BenchSpec, PolicyVariant
from policies.base import KeyedPolicy, Policy
from policies.registry import policy_class

WAIT_S = 0.005
"""For how long the first who asks waits for company; a decision of a small policy takes longer."""
POLL_S = 0.5
"""How often the desk looks whether it is still wanted."""


def answers(policy: Policy, questions: Sequence[Question]) -> list[np.ndarray | Exception]:
    """float32[H, 7] for each question, or what the policy raised for it; one that raises costs no other its answer."""
    observations = [q.observation for q in questions]
    try:
        if isinstance(policy, KeyedPolicy):
            return list(policy.act_keyed(observations, [(q.noise_key, q.decision) for q in questions]))
        return list(policy.act(observations))
    except Exception as error:
        if len(questions) == 1:
            return [error]
    return [answers(policy, [question])[0] for question in questions]


def cannot_batch(policy: str) -> str | None:
    """Why decisions of several episodes of a policy cannot be made together, None if they can."""
    entry = policy_entry(policy)
    if issubclass(policy_class(entry), KeyedPolicy):
        return None
    if entry.trained_on is None or entry.trained_on.sampling:
        return (f"policy {policy!r} draws noise, or does not say that it draws none, and has no `act_keyed` that takes "
                "the noise of each episode")
    return None


class Desk:
    """A process that holds one policy at a time. Use it as a context manager."""

    def __init__(self, spec: BenchSpec, folder: RunFolder, wait_s: float = WAIT_S) -> None:
        reason = cannot_batch(spec.variants[0].policy)
        if reason is not None:
            raise UsageError(f"batch {spec.batch} is not legal: {reason}; give --batch 1")
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, spec, folder, wait_s), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.address: str = ours.recv()
        except EOFError as error:
            raise WorkerError("the process of the policy ended before it could be asked") from error
        self._held = ours

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *exc: object) -> None:
        self._held.close()
        self._process.kill()
        self._process.join()


class _Asked(NamedTuple):
    """One question on its way."""

    line: Connection
    """Where it came from."""
    number: int
    """Its number on that line."""
    what: str
    """"prepare" or "act"."""
    content: Any
    """A variant, or a variant_id and a `Question`."""

    def reply(self, answer: str, value: Any) -> None:
        """Send "ok" with the answer, or "raised" with an exception."""
        try:
            self.line.send((self.number, answer, sendable(value) if answer == "raised" else value))
        except OSError:
            pass  # whoever asked is gone


class Counter:
    """Takes questions from all lines, and knows how many lines there are."""

    def __init__(self) -> None:
        self.asked: queue.Queue[_Asked] = queue.Queue()
        self.lines = 0
        self._change = threading.Lock()

    def listen(self, listener: Listener) -> None:
        """Accept lines for ever."""
        while True:
            threading.Thread(target=self.hear, args=(listener.accept(),), daemon=True).start()

    def hear(self, line: Connection) -> None:
        """Take what comes on a line until it is cut."""
        with self._change:
            self.lines += 1
        try:
            while True:
                self.asked.put(_Asked(line, *line.recv()))
        except (EOFError, OSError):
            with self._change:
                self.lines -= 1

    def next(self, limit: int, wait_s: float) -> list[_Asked]:
        """Up to `limit` questions: no more are waited for once all lines have asked, or `wait_s` after the first."""
        try:
            taken = [self.asked.get(timeout=POLL_S)]
        except queue.Empty:
            return []
        until = time.perf_counter() + wait_s
        while len(taken) < min(limit, self.lines) and (left := until - time.perf_counter()) > 0:
            try:
                taken.append(self.asked.get(timeout=left))
            except queue.Empty:
                break
        return taken


def _serve(runner: Connection, spec: BenchSpec, folder: RunFolder, wait_s: float) -> None:
    """Answer until the runner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    counter = Counter()
    seats: dict[str, Policy] = {}
    with Listener(family="AF_UNIX", authkey=multiprocessing.current_process().authkey) as listener:
        runner.send(listener.address)
        threading.Thread(target=counter.listen, args=(listener,), daemon=True).start()
        while not runner.poll():  # it never sends; what can be read is its end
            taken = counter.next(spec.batch, wait_s)
            for asked in taken:
                if asked.what == "prepare":
                    asked.reply(*_prepared(seats, spec, folder, asked.content))
            questions = [asked for asked in taken if asked.what == "act"]
            for variant_id in dict.fromkeys(asked.content[0] for asked in questions):
                mine = [asked for asked in questions if asked.content[0] == variant_id]
                found = answers(seats[variant_id], [asked.content[1] for asked in mine])
                for asked, answer in zip(mine, found, strict=True):
                    asked.reply("raised" if isinstance(answer, Exception) else "ok", answer)


def _prepared(seats: dict[str, Policy], spec: BenchSpec, folder: RunFolder, variant: PolicyVariant) -> tuple[str, Any]:
    """"ok" with what a worker must know of the policy, whether it is new, and then its audit; or "raised" with why."""
    new, audit = variant.variant_id not in seats, None
    try:
        if new:
            if spec.stop == "never":
                seats.clear()  # one policy in memory at a time
            seats[variant.variant_id], audit = prepared(spec, variant, folder)
    except Exception as error:
        return "raised", error
    policy = seats[variant.variant_id]
    facts = {name: getattr(policy, name) for name in ("name", "action_spec", "image_size", "needs_privileged")}
    return "ok", (facts, new, audit)
