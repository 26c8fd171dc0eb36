"""`pocket-flow`: the embedded vision-language-action policy that turns noise into actions by flow matching."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from envs.types import Observation
from policies.pocket.model import ACTION_DIM, CHUNK, Backbone
from policies.pocket.policy import PocketPolicy


class PocketFlow(PocketPolicy):
    """See `policies.base.QuantizablePolicy`. The noise of a decision follows from the episode's key and its number.

    All observations of one call are one decision and share its noise, so a chunk does not depend on what else is in
    the batch.
    """

    head = "flow"
    denoiser = "dit"

    def __init__(self, folder: Path | None = None, module: Backbone | None = None):
        super().__init__(folder, module)
        self.reset(())

    def reset(self, noise_key: Sequence[int]) -> None:
        """Begin an episode: the next call is decision 0 of `noise_key`, numbers of 0 or more."""
        self._key, self._decision = tuple(int(number) for number in noise_key), 0

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments, with noise that follows from each observation's own state."""
        drawn = [noise(o.state.astype(np.float32).view(np.uint32).tolist()) for o in observations]
        return self.inputs(observations) | {"noise": torch.stack(drawn).to(self.module.slots.device)}

    def answer(self, observations: Sequence[Observation]) -> torch.Tensor:
        """The actions float[B, 8, 7] of the next decision."""
        drawn = _drawn(self._key, self._decision).expand(len(observations), -1, -1)
        self._decision += 1
        return self.module(**self.inputs(observations), noise=drawn.to(self.module.slots.device))

    def act_keyed(self, observations: Sequence[Observation], decisions: Sequence[tuple[Sequence[int], int]]
                  ) -> np.ndarray:
        """See `policies.base.KeyedPolicy`."""
        drawn = torch.stack([_drawn(key, decision) for key, decision in decisions])
        with torch.inference_mode():
            return self.legal(self.module(**self.inputs(observations), noise=drawn.to(self.module.slots.device)))


def _drawn(key: Sequence[int], decision: int) -> torch.Tensor:
    # The length keeps a key from being continued by the decision's number into another episode's key.
    return noise([len(key), *key, decision])


def noise(key: Sequence[int]) -> torch.Tensor:
    """Standard normal float32[8, 7] from numbers of 0 or more: equal keys, equal noise, on every machine."""
    drawn = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key)))).standard_normal(
        (CHUNK, ACTION_DIM), dtype=np.float32)
    return torch.from_numpy(drawn)
