"""Environments that stay open: compiling a scene takes longer than an episode's reset."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from bench.errors import lookup
from bench.host import EnvironmentHost
from envs.registry import SUITES, SuiteModule
from envs.types import Environment

if TYPE_CHECKING:  # it imports torch, and names are checked before that
    from policies.base import Policy

CAPACITY = 10
"""Open scenes at most: a whole suite, so that a second variant finds every scene compiled."""


def suite_module(suite: str) -> SuiteModule:
    """The module that serves `suite`; raises `UsageError` for an unknown name."""
    return importlib.import_module(lookup("suite", suite, SUITES).module)


def open_task(suite: str, assets: str, task: int, image_size: int, privileged: bool) -> Environment:
    """Open a task of `suite` in this process."""
    return suite_module(suite).open_task(suite, task, image_size, assets, privileged)


class EnvironmentPool:
    """The tasks of one suite, opened on demand for one kind of policy. Use it as a context manager.

    With `host_timeout_s` they live in a process of their own that has so long for each answer (`bench.host`).
    """

    def __init__(self, suite: str, assets: str, capacity: int = CAPACITY, host_timeout_s: float | None = None) -> None:
        self._suite = suite
        self._assets = assets
        self._capacity = capacity
        self._host_timeout_s = host_timeout_s
        self._host: EnvironmentHost | None = None
        self._open: OrderedDict[tuple[int, int, bool], Environment] = OrderedDict()

    def get(self, task: int, policy: Policy) -> Environment:
        """Task `task` as `policy` wants to see it; raises `SpecMismatch` if the two disagree on the action."""
        key = (task, policy.image_size, policy.needs_privileged)
        if self._host is not None and not self._host.alive:
            self._host = None
            self._open.clear()  # they died with their host
        if key not in self._open:
            self._open[key] = env = self._opened(*key)
            policy.action_spec.require(env.action_spec)
        self._open.move_to_end(key)
        while len(self._open) > self._capacity:
            self._open.popitem(last=False)[1].close()
        return self._open[key]

    def _opened(self, task: int, image_size: int, privileged: bool) -> Environment:
        if self._host_timeout_s is None:
            return open_task(self._suite, self._assets, task, image_size, privileged)
        if self._host is None:
            self._host = EnvironmentHost(partial(open_task, self._suite, self._assets), self._host_timeout_s)
        return self._host.open(task, image_size, privileged)

    def drop(self, env: Environment) -> None:
        """Close an environment that may be in an unknown state, so that its task is opened afresh."""
        for key in [key for key, value in self._open.items() if value is env]:
            del self._open[key]
        env.close()

    def __enter__(self) -> EnvironmentPool:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._host is not None:
            self._open.clear()
            self._host.close()
        while self._open:
            self._open.popitem()[1].close()
