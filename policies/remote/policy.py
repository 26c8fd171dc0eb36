"""`remote:ws://HOST:PORT`: a policy that runs elsewhere, asked by openpi's protocol.

Nothing is quantized here: what the server serves, at whatever precision, is the thing under test. Its metadata are its
identity; the address is not, so a run goes on when the same server listens elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.types import Observation
from policies.remote.connection import Connection, RemoteError
from policies.remote.facts import ServerFacts
from policies.remote.message import EPISODE, chunk, encode
from policies.remote.wire import WireError


class RemotePolicy:
    """See `policies.base.Policy`. Made and asked, it raises `RemoteError` with a reason wherever the server fails."""

    needs_privileged = False

    def __init__(self, url: str, connection: Connection | None = None) -> None:
        self.name = f"remote:{url}"
        self._connection = Connection(url) if connection is None else connection
        self.facts: ServerFacts = self._connection.facts()
        """What the server said of itself."""
        self.image_size, self.action_spec = self.facts.image_size, self.facts.action_spec
        self._noise_key: tuple[int, ...] = ()
        self._decision = 0

    def reset(self, noise_key: Sequence[int]) -> None:
        """Begin an episode. openpi's protocol knows no episodes, so only our own server is told."""
        self._noise_key, self._decision = tuple(noise_key), 0

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, H, 7], clipped to the limits as LIBERO's controller does; NaN stays for whoever checks it."""
        chunks = [self._asked(observation) for observation in observations]
        self._decision += 1
        return np.clip(np.stack(chunks), self.action_spec.low, self.action_spec.high)

    def close(self) -> None:
        """Leave the server."""
        self._connection.close()

    def _asked(self, observation: Observation) -> np.ndarray:
        request = encode(observation, self.facts.sent_size)
        if self.facts.own:
            request[EPISODE] = {"noise_key": list(self._noise_key), "decision": self._decision}
        try:
            return chunk(self._connection.ask(request), self.action_spec.dim)
        except WireError as error:
            raise RemoteError(f"the server at {self._connection.url}: {error}") from error
