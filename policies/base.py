"""What a policy is: a batch of observations in, a batch of action chunks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from envs.types import ActionSpec, Observation
from quantizers.layout import ModelLayout


class Policy(Protocol):
    """A policy maps B observations to B action chunks of H actions each."""

    name: str
    """Registry name, for messages."""
    action_spec: ActionSpec
    """The action convention that the chunk is given in."""
    image_size: int
    """Side in pixels of the square images that the policy wants."""
    needs_privileged: bool
    """True for scripted experts that read simulator truth."""

    def reset(self, noise_key: Sequence[int]) -> None:
        """Begin an episode; every random number until the next reset derives from `noise_key` alone."""

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, H, 7] in the units of `action_spec`, each within its limits."""


@runtime_checkable
class QuantizablePolicy(Protocol):
    """A policy whose network a quantizer may rewrite."""

    module: Any
    """The `torch.nn.Module` that holds every weight."""
    layout: ModelLayout
    """What a quantizer must know of the module."""

    def batch(self, observations: Sequence[Observation]) -> dict[str, Any]:
        """The tensors that `layout.forward(module, batch)` takes, for calibration."""

    def network_config(self) -> dict[str, Any]:
        """The sizes of the network as JSON: everything that `skeleton` needs."""

    @classmethod
    def skeleton(cls, network: Mapping[str, Any]) -> Self:
        """The policy around a network of these sizes with arbitrary weights, made without any checkpoint.

        Raises ValueError or TypeError for sizes that are not those of such a network.
        """


@runtime_checkable
class KeyedPolicy(Protocol):
    """A policy that draws noise and can decide for several episodes at once, each with its own noise."""

    def act_keyed(self, observations: Sequence[Observation], decisions: Sequence[tuple[Sequence[int], int]]
                  ) -> np.ndarray:
        """float32[B, H, 7]: row i as `act` gives it in decision `decisions[i][1]` after `reset(decisions[i][0])`."""


@runtime_checkable
class MovablePolicy(Protocol):
    """A policy that can run on another device than the CPU."""

    def to(self, device: str) -> Any:
        """Put the network, and from now on every batch, on `device`, as `torch.device` names it."""
