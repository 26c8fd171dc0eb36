"""The policy behind a server: requests of several connections in, a chunk or a reason for each out.

A policy that computes its answer is asked for all of them at once, and one that draws noise as well if it takes the
noise of each episode (`KeyedPolicy`). Any other keeps an episode's state between decisions, so each connection has a
copy of its own around the same network, and is asked alone.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.batching import answers
from bench.desk import Question
from envs.types import Observation
from policies.base import KeyedPolicy, Policy
from policies.remote.message import CAMERA_KEYS, EPISODE, decode
from policies.remote.wire import WireError

LOGGER = logging.getLogger(__name__)
NOISE_WORDS = 4
"""32-bit numbers in a noise key, as in `bench.spec.EpisodeKey.noise_key`."""


class Refusal(Exception):
    """A request that gets a reason instead of a chunk."""


@dataclass
class Session:
    """One connection."""

    noise_key: tuple[int, ...]
    """The episode that it is in; only clients that name their episodes change it."""
    decision: int = 0
    """Number of the next decision of the episode."""
    policy: Policy | None = None
    """The policy with an episode state of its own, where it has one."""


@dataclass(frozen=True)
class Request:
    """One observation that wants a chunk."""

    session: Session
    """Whose it is."""
    observation: Observation
    """What is to be decided on."""
    noise_key: tuple[int, ...] | None
    """The episode as the client names it, None if it does not."""
    decision: int
    """Number of the decision in that episode."""


class ServedPolicy:
    """A policy, and what is known of its inputs. Only one thread may let it answer."""

    def __init__(self, policy: Policy, cameras: Sequence[str] | None, sampling: bool, seed: int = 0) -> None:
        """`cameras` that it sees, None for all; whether its answers are drawn; `seed` of connections without keys."""
        self._policy, self._seed = policy, seed
        self._stateful = sampling and not isinstance(policy, KeyedPolicy)
        self._cameras = tuple(CAMERA_KEYS) if cameras is None else tuple(cameras)
        self._sessions = 0

    @property
    def image_size(self) -> int:
        """Side in pixels of the pictures that the policy is shown."""
        return self._policy.image_size

    def session(self) -> Session:
        """A new connection's; its noise follows from the seed and how many there were before."""
        digest = hashlib.sha256(f"{self._seed}/{self._sessions}".encode()).digest()
        session = Session(tuple(int.from_bytes(digest[4 * i:4 * i + 4], "big") for i in range(NOISE_WORDS)))
        if self._stateful:
            session.policy = copy.copy(self._policy)
            session.policy.reset(session.noise_key)
        self._sessions += 1
        return session

    def request(self, session: Session, message: Mapping[str, Any]) -> Request:
        """The request in a message; raises `WireError` with what is wrong and what is legal."""
        noise_key, decision = _episode(message.get(EPISODE))
        return Request(session, decode(message, self._cameras, self.image_size), noise_key, decision)

    def answers(self, requests: Sequence[Request]) -> list[np.ndarray | Refusal]:
        """float32[H, 7], finite, for each request, or why not."""
        if self._stateful:
            return [self._drawn(request) for request in requests]
        found = answers(self._policy, [Question(*_decision(request), request.observation) for request in requests])
        for request, chunk in zip(requests, found, strict=True):
            request.session.decision += not isinstance(chunk, Exception)
        return [_failed(chunk) if isinstance(chunk, Exception) else _checked(chunk) for chunk in found]

    def _drawn(self, request: Request) -> np.ndarray | Refusal:
        session = request.session
        try:
            if request.noise_key is not None:
                self._begin(session, request)
            chunk = session.policy.act([request.observation])[0]
        except Refusal as refusal:
            return refusal
        except Exception as error:
            return _failed(error)
        session.decision += 1
        return _checked(chunk)

    @staticmethod
    def _begin(session: Session, request: Request) -> None:
        """Have the session at the decision that is asked for."""
        if request.decision == 0:
            session.policy.reset(request.noise_key)
            session.noise_key, session.decision = request.noise_key, 0
        elif (session.noise_key, session.decision) != (request.noise_key, request.decision):
            raise Refusal(f"decision {request.decision} of an episode that this connection is not in the middle of: "
                          "the policy draws noise, which follows from the decisions before; begin the episode again")


def _decision(request: Request) -> tuple[tuple[int, ...], int]:
    """Noise key and number of the decision that a request is for."""
    if request.noise_key is None:
        return request.session.noise_key, request.session.decision
    return request.noise_key, request.decision


def _episode(said: Any) -> tuple[tuple[int, ...] | None, int]:
    """Noise key and decision number of a request; (None, 0) from clients that know no episodes."""
    if said is None:
        return None, 0
    try:
        key, decision = tuple(int(n) for n in said["noise_key"]), int(said["decision"])
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"{EPISODE} must have noise_key, a list of integers, and decision, got {said!r}") from error
    if decision < 0 or not all(0 <= n < 2**32 for n in key):
        raise WireError(f"{EPISODE} must have numbers of 0 to 2**32 - 1, got {said!r}")
    return key, decision


def _checked(chunk: np.ndarray) -> np.ndarray | Refusal:
    bad = int((~np.isfinite(chunk)).sum())
    if bad:
        return Refusal(f"the policy's answer has {bad} of {chunk.size} values that are not finite")
    return np.asarray(chunk, dtype=np.float32)


def _failed(error: Exception) -> Refusal:
    LOGGER.error("the policy failed", exc_info=error)
    return Refusal(f"the policy failed: {type(error).__name__}: {error}")
