"""Notice an episode in which nothing happens any more: a policy that waits for ever, a simulator that loops.

It listens to the episode like any recorder. Too long without a decision or a step raises `Hang` in the middle of
whatever runs, which makes the episode an error. Compiled code that never returns cannot be interrupted so; after twice
the time the process says where it hangs and ends, and the same command goes on with the run.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import time
from types import FrameType

import numpy as np

from envs.types import Observation, StepResult


class Hang(Exception):
    """Nothing happened in an episode for too long."""


class Watchdog:
    """Watch while the context is open; see `bench.recorders.Recorder`. Only the main thread can be interrupted."""

    name = "watchdog"

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._interrupts = threading.current_thread() is threading.main_thread()

    def on_decision(self, step: int, observation: Observation, chunk: np.ndarray) -> None:
        """The policy lives."""
        self._again()
        # Each call makes a thread, which took more of an episode than all recording.
        if time.perf_counter() - self._armed > self._timeout_s / 10:
            self._last_resort()

    def on_step(self, step: int, decision: int | None, action: np.ndarray, result: StepResult) -> None:
        """The environment lives."""
        self._again()

    def save(self) -> None:
        """Nothing is kept."""

    def __enter__(self) -> Watchdog:
        if self._interrupts:
            self._before = signal.signal(signal.SIGALRM, self._bite)
        self._again()
        self._last_resort()
        return self

    def __exit__(self, *exc: object) -> None:
        faulthandler.cancel_dump_traceback_later()
        if self._interrupts:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    def _again(self) -> None:
        if self._interrupts:
            signal.setitimer(signal.ITIMER_REAL, self._timeout_s)

    def _last_resort(self) -> None:
        self._armed = time.perf_counter()
        faulthandler.dump_traceback_later(2 * self._timeout_s, exit=True, file=sys.__stderr__)

    def _bite(self, number: int, frame: FrameType | None) -> None:
        place = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}" if frame else "unknown"
        raise Hang(f"nothing happened for {self._timeout_s:g} s (--timeout-s); it hung at {place}")
