"""Environments in a process of their own, which may die or hang without taking the run with it.

Renderers abort, drivers kill, simulators loop. The host process holds the open scenes; the runner talks to it through a
pipe and waits a bounded time for each answer. When the host is gone, the running episode is an error with its reason,
and the next one gets a new host. What is computed does not depend on where.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from envs.types import ActionSpec, Environment, EnvironmentError_, Observation, StepResult, TaskSpec

Opener = Callable[[int, int, bool], Environment]
"""(task, image size, privileged) -> environment; must survive pickling."""


class EnvironmentLost(Exception):
    """The process of the environment died, or did not answer in time; or it raised what cannot be sent."""


class EnvironmentHost:
    """One process that opens environments with `opener` when asked. Use it as a context manager."""

    def __init__(self, opener: Opener, timeout_s: float) -> None:
        # A fork would copy the threads' locks of this process and its half of the renderer.
        context = multiprocessing.get_context("spawn")
        self.timeout_s = timeout_s
        """Seconds that an answer may take."""
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, opener), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Process id of the host."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._pipe.closed

    def open(self, task: int, image_size: int, privileged: bool) -> HostedEnvironment:
        """Open a task in the host; raises `EnvironmentLost`, and what opening raises."""
        number, spec, action_spec = self.ask("open", task, image_size, privileged)
        return HostedEnvironment(self, number, spec, action_spec)

    def ask(self, *request: Any) -> Any:
        """The host's answer; raises `EnvironmentLost`, and what the environment raised."""
        if not self.alive:
            raise EnvironmentLost("the process of the environment is gone")
        try:
            answer, value = self._exchange(request)
        except BaseException:
            # An answer that is still under way would be taken for that of the next request.
            self.close()
            raise
        if answer == "raised":
            raise value
        return value

    def _exchange(self, request: tuple) -> tuple[str, Any]:
        try:
            self._pipe.send(request)
            if not self._pipe.poll(self.timeout_s):
                raise EnvironmentLost(f"the environment did not answer {request[0]!r} within {self.timeout_s:g} s "
                                      "and was killed (--timeout-s)")
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(timeout=5)
            code = self._process.exitcode
            how = "" if code is None else f" with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"
            raise EnvironmentLost(f"the process of the environment ended{how} during {request[0]!r}") from error

    def close(self) -> None:
        """End the process; what was open in it is gone."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def __enter__(self) -> EnvironmentHost:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class HostedEnvironment:
    """An environment of a host; see `envs.types.Environment`."""

    def __init__(self, host: EnvironmentHost, number: int, task: TaskSpec, action_spec: ActionSpec) -> None:
        self.task, self.action_spec = task, action_spec
        self.host, self._number = host, number

    def reset(self, init_state: int | None, seed: int, observe: bool = True) -> Observation | None:
        """See `envs.types.Environment`."""
        return self.host.ask("reset", self._number, init_state, seed, observe)

    def step(self, action: np.ndarray, observe: bool = True) -> StepResult:
        """See `envs.types.Environment`."""
        return self.host.ask("step", self._number, action, observe)

    def render(self, camera: str, size: int) -> np.ndarray:
        """See `envs.types.Environment`."""
        return self.host.ask("render", self._number, camera, size)

    def close(self) -> None:
        """Free it in the host, if there still is one."""
        if self.host.alive:
            self.host.ask("close", self._number)


def _serve(pipe: Connection, opener: Opener) -> None:
    """Answer requests until the runner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    opened: dict[int, Environment] = {}
    while True:
        try:
            name, *arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if name == "open":
                number, env = len(opened), opener(*arguments)
                opened[number] = env
                answer = ("ok", (number, env.task, env.action_spec))
            else:
                answer = ("ok", getattr(opened[arguments[0]], name)(*arguments[1:]))
        except EnvironmentError_ as error:
            answer = ("raised", error)
        except Exception as error:
            answer = ("raised", EnvironmentLost(f"{type(error).__name__}: {error}"))
        pipe.send(answer)
