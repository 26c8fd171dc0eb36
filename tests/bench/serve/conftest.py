"""Servers in a thread of the test's process, on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bench.serve.command import make_offer, make_server
from bench.serve.server import PolicyServer, ServerSettings
from bench.variants import build
from policies.base import Policy


class RunningServer:
    """A server that runs in a thread. Use it as a context manager."""

    def __init__(self, make: Callable[[], PolicyServer]) -> None:
        self._make, self._up = make, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop, self._server = asyncio.get_running_loop(), self._make()
        await self._server.run(self._started)

    def _started(self, port: int) -> None:
        self.port, self.url = port, f"ws://127.0.0.1:{port}"
        self._up.set()

    def __enter__(self) -> RunningServer:
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def start() -> Iterator[Callable[..., RunningServer]]:
    """`start(policy="toy-vla", method="fp", instead=None, sampling=False, port=0, **settings)`.

    `instead` is asked in place of the policy; `sampling` says that it draws noise.
    """
    running: list[RunningServer] = []

    def begin(policy: str = "toy-vla", method: str = "fp", instead: Policy | None = None, sampling: bool = False,
              port: int = 0, **settings) -> RunningServer:
        offer = make_offer(policy, method, 1)
        if sampling:
            drawn = replace(offer.entry.trained_on, sampling=True)
            offer = replace(offer, entry=replace(offer.entry, trained_on=drawn))
        built = build(offer.variant)[0] if instead is None else instead
        server = RunningServer(lambda: make_server(offer, built, ServerSettings(port=port, **settings)))
        running.append(server.__enter__())
        return server

    yield begin
    for server in running:
        server.__exit__()
