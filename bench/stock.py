"""The loop that every other harness runs, as the baseline of `bench.sim`: LIBERO's environment as it comes.

Each episode rebuilds the scene (hard reset), and each control step renders two cameras, whether a policy looks or not.
It runs in a process of its own, because robosuite's renderer must be the only one of its process.
"""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

PIXELS = 256
"""Side of the two images of a step."""
CHUNK = 8
"""Actions that a policy plans at once."""
STEP_SCALE = 0.3
"""Size of the stand-in policy's random actions; full-scale ones ram the arm into the floor."""


def chunk_of(seed: int) -> np.ndarray:
    """float64[CHUNK, 7]: what the stand-in policy plans, which costs nothing."""
    return np.random.default_rng(seed).uniform(-STEP_SCALE, STEP_SCALE, (CHUNK, 7))


class StockLoop:
    """LIBERO's environment of one task in a child process; both methods return seconds measured there."""

    def __init__(self, suite: str, task: int, lean: bool):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, suite, task, lean), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def reset(self, init_state: int) -> float:
        """Hard reset to an official init state, with its first observation."""
        return self._ask("reset", init_state)

    def chunk(self, seed: int) -> float:
        """`CHUNK` control steps, each with two images."""
        return self._ask("chunk", seed)

    def _ask(self, what: str, number: int) -> float:
        self._pipe.send((what, number))
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, suite: str, task: int, lean: bool) -> None:
    from envs.libero.env import assets_folder, tasks
    from envs.libero.process import prepare
    from envs.libero.scene import _problem
    from envs.libero.suite import init_states

    spec, assets = tasks(suite)[task], assets_folder("builtin")
    prepare(assets)
    np.random.seed(0)
    problem, states = _problem(spec, assets, lean, PIXELS), init_states(spec)

    def reset(init_state: int) -> None:
        problem.reset()
        problem.sim.set_state_from_flattened(states[init_state])
        problem.sim.forward()
        problem._check_success()
        problem._post_process()
        problem._update_observables(force=True)
        problem._get_observations()

    def chunk(seed: int) -> None:
        for action in chunk_of(seed):
            problem.step(action)

    commands = {"reset": reset, "chunk": chunk}
    pipe.send("ready")
    while True:
        try:
            what, number = pipe.recv()
        except EOFError:
            break
        pipe.send(seconds(functools.partial(commands[what], number)))
    problem.close()


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
