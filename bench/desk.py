"""The policy that several workers share, as one of them sees it: questions go to its desk, see `bench.batching`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Client
from typing import Any, NamedTuple

import numpy as np

from envs.types import Observation


class Question(NamedTuple):
    """What a worker asks: one decision of one episode."""

    noise_key: tuple[int, ...]
    """Key of the episode's noise."""
    decision: int
    """Number of the decision in the episode."""
    observation: Observation
    """What the episode shows."""


class DeskLost(Exception):
    """The process of the policy is gone."""


class DeskLine:
    """A worker's connection to the desk."""

    def __init__(self, address: str) -> None:
        self._connection = Client(address, authkey=multiprocessing.current_process().authkey)
        self._number = 0

    def ask(self, what: str, content: Any) -> Any:
        """The answer to ("prepare", variant) or ("act", (variant_id, question)).

        Raises what the desk raised, and `DeskLost`.
        """
        self._number += 1
        number = None
        try:
            self._connection.send((self._number, what, content))
            while number != self._number:
                # An episode that was interrupted while it waited has left its answer behind.
                number, answer, value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise DeskLost("the process of the policy is gone") from error
        if answer == "raised":
            raise value
        return value


class DeskPolicy:
    """The policy of a desk as one worker sees it; see `policies.base.Policy`."""

    def __init__(self, line: DeskLine, variant_id: str, facts: Mapping[str, Any]) -> None:
        self.name, self.action_spec = facts["name"], facts["action_spec"]
        self.image_size, self.needs_privileged = facts["image_size"], facts["needs_privileged"]
        self._line, self._variant_id = line, variant_id
        self.reset(())

    def reset(self, noise_key: Sequence[int]) -> None:
        """Begin an episode."""
        self._noise_key, self._decision = tuple(noise_key), 0

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[1, H, 7] for one observation; raises what the policy raised, and `DeskLost`."""
        (observation,) = observations
        question = Question(self._noise_key, self._decision, observation)
        self._decision += 1
        return self._line.ask("act", (self._variant_id, question))[None]
