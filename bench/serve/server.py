"""The websocket server: openpi's protocol, so that clients made for its servers connect unchanged.

On connecting a client gets a map of metadata. Each binary message is then one observation, answered by a map with
`actions` and `server_timing`; a text message in place of it is the reason why there is no answer. `GET /healthz` says
OK, as openpi's does; `/version` is the metadata and `/status` what the server has done, as JSON. Facts of the protocol:
Physical-Intelligence/openpi 15a9616, `src/openpi/serving/websocket_policy_server.py`.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import json
import logging
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from bench.serve.batcher import Batcher, Tally
from bench.serve.served import Refusal, ServedPolicy, Session
from policies.remote.message import ACTIONS
from policies.remote.wire import WireError, pack, unpack

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerSettings:
    """How the server listens."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """TCP port; 0 lets the system choose."""
    token: str | None = None
    """What clients must name as `Authorization: Api-Key TOKEN`, None if anyone may ask."""
    max_batch: int = 8
    """Requests answered together at most."""
    max_wait_s: float = 0.005
    """Seconds that a request waits for others at most."""
    max_bytes: int = 16 * 2**20
    """Length of a message at most; a longer one closes its connection with code 1009."""


class PolicyServer:
    """Serves one policy until it is told to stop."""

    def __init__(self, served: ServedPolicy, metadata: Mapping[str, Any], settings: ServerSettings,
                 prepare_thread: Callable[[], None] = lambda: None) -> None:
        """`prepare_thread` runs once in the thread that asks the policy."""
        self._served, self._metadata, self._settings = served, dict(metadata), settings
        self._executor = ThreadPoolExecutor(1, "policy", initializer=prepare_thread)
        self._tally, self._clients = Tally(), 0
        self._batcher = Batcher(served.answers, self._executor, settings.max_batch, settings.max_wait_s,
                                lambda: self._clients, self._tally)
        self._began = time.monotonic()
        self._stop = asyncio.Event()

    async def run(self, started: Callable[[int], None]) -> None:
        """Serve until SIGINT, SIGTERM or `stop`; `started` is told the port. Raises OSError if it cannot listen."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        async with serve(self._connection, settings.host, settings.port, compression=None, max_size=settings.max_bytes,
                         process_request=self._http, server_header=None) as server:
            batching = asyncio.create_task(self._batcher.run())
            for number in (signal.SIGINT, signal.SIGTERM):
                try:
                    loop.add_signal_handler(number, self._stop.set)
                except (RuntimeError, ValueError):
                    break  # not the main thread: whoever started it stops it
            started(server.sockets[0].getsockname()[1])
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait([stopping, batching], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            batching.cancel()
            if batching.done() and not batching.cancelled():
                batching.result()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """End `run`; to be called in its loop."""
        self._stop.set()

    async def _connection(self, socket: ServerConnection) -> None:
        self._clients += 1
        session, previous_ms = self._served.session(), None
        try:
            await socket.send(pack(self._metadata))
            async for data in socket:
                began = time.perf_counter()
                await socket.send(await self._answer(data, session, previous_ms))
                previous_ms = (time.perf_counter() - began) * 1e3
        except ConnectionClosed as closed:
            LOGGER.info("connection of %s ended: %s", socket.remote_address, closed)
        finally:
            self._clients -= 1

    async def _answer(self, data: bytes | str, session: Session, previous_ms: float | None) -> bytes | str:
        """The answer as bytes, or a reason as text, which is an error in the protocol."""
        try:
            if isinstance(data, str):
                raise WireError("a request is a binary MessagePack message, got text")
            request = self._served.request(session, unpack(data))
        except WireError as error:
            self._tally.refused += 1
            LOGGER.warning("refused: %s", error)
            return str(error)
        answer = await self._batcher.ask(request)
        if isinstance(answer.chunk, Refusal):
            return str(answer.chunk)
        timing = {"infer_ms": answer.infer_ms, "queue_ms": answer.queue_ms, "batch_size": answer.batch_size}
        if previous_ms is not None:
            timing["prev_total_ms"] = previous_ms
        return pack({ACTIONS: answer.chunk, "server_timing": timing})

    def _http(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        """Answer what is no handshake; None lets the handshake go on."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            if self._tally.failing:
                return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "the last inference failed\n")
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if not self._allowed(request.headers):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "this server needs its token, as header "
                                      "Authorization: Api-Key TOKEN\n")
        content = {"/version": lambda: self._metadata, "/status": self._status}.get(path)
        if content is None:
            return None
        response = connection.respond(http.HTTPStatus.OK, json.dumps(content()) + "\n")
        response.headers.pop("Content-Type", None)
        response.headers["Content-Type"] = "application/json"
        return response

    def _status(self) -> dict[str, Any]:
        return {"uptime_s": time.monotonic() - self._began, "connections": self._clients,
                "failing": self._tally.failing, **self._tally.to_json()}

    def _allowed(self, headers: Headers) -> bool:
        if self._settings.token is None:
            return True
        given = headers.get_all("Authorization")
        wanted = f"Api-Key {self._settings.token}"
        return len(given) == 1 and hmac.compare_digest(given[0].encode(), wanted.encode())
