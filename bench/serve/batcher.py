"""Requests that arrive at about the same time are answered together; nobody waits longer than the bound."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.serve.served import Refusal, Request

KEPT = 1000
"""Latest inferences whose times are kept."""


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    chunk: np.ndarray | Refusal
    """float32[H, 7], or why there is none."""
    infer_ms: float
    """Time that the policy took for the batch."""
    queue_ms: float
    """Time from the request's arrival until the policy began."""
    batch_size: int
    """Requests that were answered together."""


@dataclass
class Tally:
    """What the server has done since it started."""

    answered: int = 0
    """Requests that got a chunk."""
    refused: int = 0
    """Requests that got a reason instead."""
    failing: bool = False
    """Whether the last inference gave a reason for every request of it: the policy, or its device, may be broken."""
    infer_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Times of the latest inferences."""
    batch_sizes: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Their batch sizes."""

    def to_json(self) -> dict[str, Any]:
        """Counts, and the median and 95th percentile of the latest inferences; None before the first."""
        p50, p95 = np.percentile(self.infer_ms, [50, 95]).tolist() if self.infer_ms else (None, None)
        return {"answered": self.answered, "refused": self.refused, "infer_ms_p50": p50, "infer_ms_p95": p95,
                "batch_size_mean": float(np.mean(self.batch_sizes)) if self.batch_sizes else None}


@dataclass(frozen=True)
class _Waiting:
    request: Request
    since: float
    answer: asyncio.Future[Answer]


class Batcher:
    """Gathers requests and lets `answers` have them in `executor`, one batch at a time."""

    def __init__(self, answers: Callable[[Sequence[Request]], Sequence[np.ndarray | Refusal]], executor: Executor,
                 max_batch: int, max_wait_s: float, clients: Callable[[], int], tally: Tally) -> None:
        """`clients()` is how many connections there are: once all have asked, there is nobody to wait for."""
        self._answers, self._executor, self._clients, self._tally = answers, executor, clients, tally
        self._max_batch, self._max_wait_s = max_batch, max_wait_s
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()

    async def ask(self, request: Request) -> Answer:
        """Wait for the answer."""
        waiting = _Waiting(request, time.perf_counter(), asyncio.get_running_loop().create_future())
        await self._queue.put(waiting)
        return await waiting.answer

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            batch = await self._gathered()
            began = time.perf_counter()
            chunks = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._answers, [waiting.request for waiting in batch])
            infer_ms = (time.perf_counter() - began) * 1e3
            refused = sum(isinstance(chunk, Refusal) for chunk in chunks)
            self._tally.answered += len(batch) - refused
            self._tally.refused += refused
            self._tally.failing = refused == len(batch)
            self._tally.infer_ms.append(infer_ms)
            self._tally.batch_sizes.append(len(batch))
            for waiting, chunk in zip(batch, chunks, strict=True):
                if not waiting.answer.cancelled():  # its connection may be gone
                    queue_ms = (began - waiting.since) * 1e3
                    waiting.answer.set_result(Answer(chunk, infer_ms, queue_ms, len(batch)))

    async def _gathered(self) -> list[_Waiting]:
        batch = [await self._queue.get()]
        deadline = batch[0].since + self._max_wait_s
        while len(batch) < min(self._max_batch, self._clients()):
            if not self._queue.empty():
                batch.append(self._queue.get_nowait())
                continue
            left_s = deadline - time.perf_counter()
            if left_s <= 0:
                break
            try:
                batch.append(await asyncio.wait_for(self._queue.get(), left_s))
            except TimeoutError:
                break
        return batch
