"""What the three pocket policies have in common: observations to tensors, numbers to legal actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from envs.types import OSC_POSE, ActionSpec, Observation
from policies.pocket.checkpoint import NETWORKS, calibration_observations, load_network, sites, weights_folder
from policies.pocket.folds import structure
from policies.pocket.model import CAMERAS, Backbone
from policies.pocket.words import encode
from quantizers.layout import ModelLayout


def forward(module: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The actions float[B, 8, 7] of a batch, differentiable."""
    return module(**batch)


class PocketPolicy:
    """A network and its conventions; a head says how to get an `answer` and what else a calibration batch holds."""

    head: ClassVar[str]
    """Key of `checkpoint.NETWORKS`."""
    denoiser: ClassVar[str | None] = None
    """See `quantizers.layout.ModelLayout`."""
    action_spec: ActionSpec = OSC_POSE
    needs_privileged = False

    def __init__(self, folder: Path | None = None, module: Backbone | None = None):
        """The checkpoint of `folder`, the shipped one if None; or `module` as it is."""
        self.name = f"pocket-{self.head}"
        self.folder = weights_folder(self.head) if folder is None else folder
        self.module = module if module is not None else load_network(self.folder, self.head)
        self.image_size = self.module.config.image_size
        self.layout = ModelLayout(sites(self.module), forward, denoiser=self.denoiser, **structure(self.module))

    def network_config(self) -> dict[str, Any]:
        """The fields of the network's config."""
        return asdict(self.module.config)

    @classmethod
    def skeleton(cls, network: Mapping[str, Any]) -> Self:
        """See `policies.base.QuantizablePolicy`."""
        kind, config = NETWORKS[cls.head]
        return cls(module=kind(config(**network)).eval())

    def to(self, device: str) -> Self:
        """See `policies.base.MovablePolicy`."""
        self.module.to(device)
        return self

    def reset(self, noise_key: Sequence[int]) -> None:
        """Nothing is random and nothing is remembered, unless the head says so."""

    def inputs(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """What every head's network is shown of B observations: the arguments of `Backbone.embed`."""
        words, mask = encode([o.instruction for o in observations])
        images = np.stack([np.stack([o.images[camera] for camera in CAMERAS]) for o in observations])
        states = np.stack([o.state for o in observations])
        made = {"images": torch.from_numpy(images), "state": torch.from_numpy(states), "words": words, "mask": mask}
        return {name: tensor.to(self.module.slots.device) for name, tensor in made.items()}

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments for B observations; what is in a row depends on its observation alone."""
        return self.inputs(observations)

    def answer(self, observations: Sequence[Observation]) -> torch.Tensor:
        """The network's actions float[B, 8, 7], not yet legal."""
        return self.module(**self.inputs(observations))

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, 8, 7]: translation and rotation clipped to the legal range, the gripper open or closed."""
        with torch.inference_mode():
            return self.legal(self.answer(observations))

    def legal(self, answer: torch.Tensor) -> np.ndarray:
        """The network's actions float[B, 8, 7] as `act` gives them."""
        chunk = answer.cpu().numpy()
        chunk = np.clip(chunk, self.action_spec.low, self.action_spec.high)
        chunk[..., 6] = np.where(chunk[..., 6] > 0.0, 1.0, -1.0)
        return chunk

    def calibration_observations(self) -> tuple[list[Observation], list[str]]:
        """Training-side observations shipped with the checkpoint, and the name of the episode that each is from."""
        return calibration_observations(self.folder)
