"""`pocket-token`: the embedded vision-language-action policy that speaks its actions token by token, greedily."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from envs.types import Observation
from policies.pocket.autoregressive import from_bins
from policies.pocket.policy import PocketPolicy


class PocketToken(PocketPolicy):
    """See `policies.base.QuantizablePolicy`; nothing is sampled."""

    head = "token"

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments, with the tokens that it speaks now.

        Made before quantizing, they are those of full precision: what is quantized then reads the same words.
        """
        inputs = self.inputs(observations)
        with torch.inference_mode():
            bins = self.module.generate(**inputs)
        return inputs | {"bins": bins.clone()}

    def answer(self, observations: Sequence[Observation]) -> torch.Tensor:
        """The centres of the bins that are spoken, float[B, 8, 7]."""
        return from_bins(self.module.generate(**self.inputs(observations)))
