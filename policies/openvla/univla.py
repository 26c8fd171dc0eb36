"""UniVLA as a policy: latent actions in words, a history of them in the prompt, and one action of many windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from envs.types import Observation
from policies.errors import CheckpointError
from policies.openvla.checkpoint import fill_, read_config, read_part
from policies.openvla.latent import HEADS, LATENTS, LatentConfig, LatentNet
from policies.openvla.network import ACTION_DIM
from policies.openvla.policy import OpenVLA, unpadded
from policies.openvla.published import UNIVLA

DECAY = 0.1
"""Rate at which the weight of a window falls with its age in decisions."""


class Ensemble:
    """Every decision foresees a window of actions; what is done now is the mean over what was foreseen for now."""

    def __init__(self, window: int):
        self._windows: deque[np.ndarray] = deque(maxlen=window)

    def action(self, window: np.ndarray) -> np.ndarray:
        """float64[7] of the newest window float64[W, 7]."""
        self._windows.appendleft(window)
        foreseen = np.stack([window[age] for age, window in enumerate(self._windows)])
        weights = np.exp(-DECAY * np.arange(len(foreseen)))
        return weights @ foreseen / weights.sum()


class UniVLA(OpenVLA):
    """See the module; rows of a batch are episodes of their own, each with its memory."""

    name = "univla"
    family, network, config = UNIVLA, LatentNet, LatentConfig
    beside = "action_decoder."

    def read_config(self, folder: Path) -> LatentConfig:
        """The sizes of the network, those of the action decoder from its file."""
        base, decoder = read_config(folder, len(self.cameras)), self._decoder(folder)
        try:
            rows, width = decoder["proj.0.weight"].shape
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"the action decoder of {folder} has no usable 'proj.0.weight'") from error
        if rows % ACTION_DIM or width % HEADS:
            raise CheckpointError(f"the action decoder of {folder} gives {rows} numbers from {width}; it must be whole "
                                  f"actions of {ACTION_DIM} from whole heads, {HEADS} of them")
        return LatentConfig(**vars(base), window=rows // ACTION_DIM, decoder_width=width)

    def load_parts_(self, module: LatentNet, folder: Path) -> None:
        """The action decoder."""
        fill_(module.action_decoder, self._decoder(folder), f"{folder}, action decoder")

    def _decoder(self, folder: Path) -> dict[str, torch.Tensor]:
        return read_part(folder, "action_decoder*")

    def reset(self, noise_key: Sequence[int]) -> None:
        """Begin an episode: nothing was spoken, nothing foreseen."""
        self._random = np.random.default_rng(list(noise_key))
        self._histories: list[str] = []
        self._ensembles: list[Ensemble] = []

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments for B observations at the beginning of an episode, with the likeliest words."""
        given = self.inputs(observations)
        with torch.no_grad():
            likeliest = torch.zeros(len(observations), LATENTS, device=self.device)
            return given | {"spoken": self.module.generate(**unpadded(given), chances=likeliest)[0]}

    def answer(self, observations: Sequence[Observation]) -> np.ndarray:
        """Normalized actions float64[B, 1, 7]. Raises ValueError if the number of rows changes within an episode."""
        if not self._ensembles:
            self._histories = [""] * len(observations)
            self._ensembles = [Ensemble(self.module.config.window) for _ in observations]
        if len(observations) != len(self._ensembles):
            raise ValueError(f"{len(observations)} observations follow {len(self._ensembles)} in one episode; reset "
                             "before another number of them")
        chances = torch.from_numpy(self._random.random((len(observations), LATENTS))).to(self.device)
        given = self.inputs(observations, self._histories)
        spoken, windows = self.module.generate(**unpadded(given), chances=chances)
        self._histories = [self.recipe.words.words(row) for row in spoken.tolist()]
        windows = windows.double().cpu().numpy()
        return np.stack([e.action(w) for e, w in zip(self._ensembles, windows, strict=True)])[:, None]
