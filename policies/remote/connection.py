"""One connection to a policy server: bounded waits, and a new connection where the old one broke."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection, connect

from policies.remote.facts import ServerFacts, understand
from policies.remote.wire import WireError, pack, unpack

TOKEN_VARIABLE = "QVLA_BENCH_TOKEN"
"""Environment variable with the server's token: a secret has no place in a command line that every run records."""
OPEN_TIMEOUT_S, ANSWER_TIMEOUT_S = 10.0, 240.0
"""Seconds that a handshake and an answer may take. openpi's servers compile their network on the first request."""
PATIENCE_S, PAUSE_S = 5.0, 0.5
"""Seconds for which a server that was there is tried again after it went away, and the pause between tries."""
MAX_BYTES = 64 * 2**20
"""Length of an answer at most."""


class RemoteError(Exception):
    """The server is not there, did not answer in time, refused, or answered with what is no answer."""


class Connection:
    """A connection that opens itself when it is needed, to a server that must stay the same."""

    def __init__(self, url: str, answer_timeout_s: float = ANSWER_TIMEOUT_S, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self._answer_timeout_s, self._patience_s = answer_timeout_s, patience_s
        self._socket: ClientConnection | None = None
        self._facts: ServerFacts | None = None

    def facts(self) -> ServerFacts:
        """What the server said of itself when it was met first; raises `RemoteError`."""
        if self._facts is None:
            self._open()
        return self._facts

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request; raises `RemoteError` with a reason.

        A connection that breaks is opened again and the request repeated once: asking twice changes nothing. A server
        that does not answer in time is not asked again, for it may still be busy with the first request.
        """
        data = pack(request)
        used_before = self._socket is not None
        try:
            return self._exchange(data)
        except ConnectionClosed as error:
            self.close()
            if error.rcvd is not None and error.rcvd.code == 1009:
                raise RemoteError(f"the server at {self.url} does not take messages of {len(data):,} bytes: "
                                  f"{error.rcvd.reason}") from error
            if not used_before:
                raise RemoteError(f"the server at {self.url} closed the connection: {error}") from error
            self._open_again(error)
        try:
            return self._exchange(data)
        except ConnectionClosed as error:
            self.close()
            raise RemoteError(f"the server at {self.url} closed the connection twice: {error}") from error

    def close(self) -> None:
        """Leave; the next request opens a new connection."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    def _exchange(self, data: bytes) -> dict[str, Any]:
        if self._socket is None:
            self._open()
        try:
            self._socket.send(data)
            answer = self._socket.recv(timeout=self._answer_timeout_s)
        except TimeoutError as error:
            self._drop()
            raise RemoteError(f"the server at {self.url} did not answer within {self._answer_timeout_s:g} s") from error
        except ConnectionClosed:
            raise
        except BaseException:
            # A watchdog or the user interrupted the wait; the answer that is still under way is nobody's.
            self._drop()
            raise
        if isinstance(answer, str):
            raise RemoteError(f"the server at {self.url} refused: {_last_line(answer)}")
        try:
            return unpack(answer)
        except WireError as error:
            raise RemoteError(f"the server at {self.url} sent no answer: {error}") from error

    def _open(self) -> None:
        token = os.environ.get(TOKEN_VARIABLE)
        headers = {"Authorization": f"Api-Key {token}"} if token else None
        try:
            opening = connect(self.url, compression=None, max_size=MAX_BYTES, open_timeout=OPEN_TIMEOUT_S,
                              additional_headers=headers, close_timeout=1.0)
            self._socket = opening.__enter__()  # websockets asks for a context; this one lasts as long as the policy
            facts = understand(unpack(self._socket.recv(timeout=OPEN_TIMEOUT_S)))
        except InvalidStatus as error:
            code = error.response.status_code
            hint = f"; put its token into the environment variable {TOKEN_VARIABLE}" if code in (401, 403) else ""
            raise RemoteError(f"the server at {self.url} refused the connection with status {code}{hint}") from error
        except InvalidURI as error:
            raise RemoteError(f"{self.url!r} is no address of a server; legal is ws://HOST:PORT") from error
        except (OSError, WebSocketException, WireError, TypeError) as error:
            self._drop()
            raise RemoteError(f"no policy server answers at {self.url}: {type(error).__name__} {error}; start one with "
                              "`qvla-bench serve`, or an openpi server") from error
        if self._facts is not None and facts.metadata != self._facts.metadata:
            self._drop()
            raise RemoteError(f"the server at {self.url} is not the one that was there before: it says that it serves "
                              f"{facts.name}; start the former one again, or name a new run (RUN=...)")
        self._facts = facts

    def _open_again(self, cause: ConnectionClosed) -> None:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return self._open()
            except RemoteError as error:
                if time.monotonic() >= deadline:
                    raise RemoteError(f"the connection broke ({cause}), and for {self._patience_s:g} s {error}") \
                        from error
            time.sleep(PAUSE_S)

    def _drop(self) -> None:
        """Leave without the closing handshake, for which a hanging server would have to answer."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close_socket()


def _last_line(text: str) -> str:
    """What a traceback ends with, or the whole of a short reason."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return (lines[-1] if lines else "it gave no reason")[:500]
