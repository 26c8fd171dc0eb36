"""OpenVLA and OpenVLA-OFT as policies: observations to tensors, what the network answers to legal actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from envs.types import OSC_POSE, ActionSpec, Observation
from policies.errors import CheckpointError
from policies.openvla.calibration import stored_observations
from policies.openvla.checkpoint import fill_, load_network_, read_config, read_part, unread_names
from policies.openvla.network import Backbone, NetworkConfig, empty
from policies.openvla.oft import OftNet
from policies.openvla.pictures import pixels
from policies.openvla.published import OFT, OPENVLA, Family, Place
from policies.openvla.recipe import Recipe
from policies.openvla.statistics import EPSILON, to_robot
from policies.openvla.structure import sites, structure
from policies.openvla.token import TokenNet
from policies.openvla.words import prompt
from quantizers.layout import ModelLayout

IMAGE_SIZE = 256
"""Side in pixels of the pictures that the published evaluations render."""


def forward(module: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The normalized actions float32[B, H, 7] of a batch, differentiable."""
    return module(**batch)


class OpenVLA:
    """A network with its recipe; see `policies.base.QuantizablePolicy`. Weights keep the type of the checkpoint."""

    name: ClassVar[str] = "openvla"
    action_spec: ActionSpec = OSC_POSE
    image_size = IMAGE_SIZE
    needs_privileged = False
    family: ClassVar[Family] = OPENVLA
    cameras: ClassVar[tuple[str, ...]] = ("agentview",)
    network: ClassVar[type[Backbone]] = TokenNet
    config: ClassVar[type[NetworkConfig]] = NetworkConfig
    with_state: ClassVar[bool] = False
    beside: ClassVar[str] = "none."
    """Beginnings of the tensors that are not in the shards, separated by blanks."""
    refused: ClassVar[tuple[str, ...]] = ()
    """Files that make a checkpoint one of another head."""

    def __init__(self, argument: str):
        """The checkpoint that `argument` names, see `published`.

        Raises `CheckpointMissing` if it is not here, `CheckpointError` if it is not what it should be.
        """
        folder = self.family.folder(argument)
        suite = Place.of(argument).suite
        for pattern in self.refused:
            if any(folder.glob(pattern)):
                raise CheckpointError(f"{folder} has {next(folder.glob(pattern)).name}, which is of a head that "
                                      f"{self.name!r} does not have; known is regression without FiLM")
        recipe = Recipe.read(folder, suite, self.with_state)
        config = self.read_config(folder)
        module = empty(self.network, config)
        load_network_(module, folder, unread_names(config, words_unread=self.network is OftNet), self.beside)
        self.load_parts_(module, folder)
        self._settle(module, recipe, folder, suite)

    def _settle(self, module: Backbone, recipe: Recipe, folder: Path | None, suite: str | None) -> None:
        self.module, self.recipe, self._folder, self._suite = module.eval().requires_grad_(False), recipe, folder, suite
        self.device = torch.device("cpu")
        self.layout = ModelLayout(sites(module), forward, **structure(module))
        self.reset(())

    def read_config(self, folder: Path) -> NetworkConfig:
        """The sizes of the network in `folder`."""
        return read_config(folder, len(self.cameras))

    def load_parts_(self, module: Backbone, folder: Path) -> None:
        """Fill what is not in the shards."""

    def network_config(self) -> dict[str, Any]:
        """The sizes of the network, and the recipe."""
        return {"network": self.module.config.to_json(), "recipe": self.recipe.to_json()}

    @classmethod
    def skeleton(cls, network: Mapping[str, Any]) -> Self:
        """See `policies.base.QuantizablePolicy`."""
        if set(network) != {"network", "recipe"}:
            raise ValueError(f"{cls.name} is made of network and recipe, got {sorted(network)}")
        policy = cls.__new__(cls)
        module = empty(cls.network, cls.config.from_json(network["network"]))
        policy._settle(module, Recipe.from_json(network["recipe"]), None, None)
        return policy

    def to(self, device: str) -> Self:
        """See `policies.base.MovablePolicy`."""
        self.device = torch.device(device)
        self.module.to(self.device)
        return self

    def reset(self, noise_key: Sequence[int]) -> None:
        """Nothing is random and nothing is remembered."""

    def inputs(self, observations: Sequence[Observation], histories: Sequence[str] | None = None) -> dict[str, Any]:
        """The network's arguments for B observations but for what it spoke itself."""
        for camera in self.cameras:
            if any(camera not in o.images for o in observations):
                raise ValueError(f"an observation has no picture of camera {camera!r}, which {self.name!r} looks at")
        histories = histories or [""] * len(observations)
        told = [prompt(o.instruction, history) for o, history in zip(observations, histories, strict=True)]
        tokens, mask = self.recipe.words.encode(told)
        seen = [torch.stack([pixels(o.images[camera], self.recipe.pictures) for camera in self.cameras])
                for o in observations]
        given = {"pixels": torch.stack(seen), "tokens": tokens, "mask": mask}
        if self.recipe.state is not None:
            state = self.recipe.state.normalized(np.stack([o.state for o in observations]).astype(np.float64))
            given["state"] = torch.from_numpy(state).float()
        return {name: tensor.to(self.device) for name, tensor in given.items()}

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments for B observations, with what it speaks for them."""
        given = self.inputs(observations)
        with torch.no_grad():
            return given | {"spoken": self.module.generate(**unpadded(given))}

    def answer(self, observations: Sequence[Observation]) -> np.ndarray:
        """Normalized actions float64[B, H, 7]."""
        spoken = self.module.generate(**unpadded(self.inputs(observations)))
        return self.module.values(spoken).double().cpu().numpy()

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, H, 7]."""
        with torch.inference_mode():
            actions = self.recipe.actions.unnormalized(self.answer(observations), self.epsilon)
        return to_robot(actions, self.action_spec.low, self.action_spec.high)

    @property
    def epsilon(self) -> float:
        """What is added to the width of the actions' intervals."""
        return 0.0

    def calibration_observations(self) -> tuple[list[Observation], list[str]]:
        """Observations that were recorded for this checkpoint or its suite, and the episode of each."""
        return stored_observations(self._folder, self._suite, self.cameras)


class OpenVLAOFT(OpenVLA):
    """Two cameras, proprioception, a chunk of eight actions at once."""

    name = "openvla-oft"
    family, network, cameras, with_state = OFT, OftNet, ("agentview", "wrist"), True
    beside = "action_head. proprio_projector."
    refused = ("noisy_action_projector--*", "vision_backbone--*")
    epsilon = EPSILON

    def load_parts_(self, module: OftNet, folder: Path) -> None:
        """The head and the projector of proprioception."""
        for name in ("action_head", "proprio_projector"):
            fill_(module.get_submodule(name), read_part(folder, f"{name}--*_checkpoint"), f"{folder}, {name}")

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments for B observations."""
        return self.inputs(observations)

    def answer(self, observations: Sequence[Observation]) -> np.ndarray:
        """Normalized actions float64[B, 8, 7]."""
        return self.module(**unpadded(self.inputs(observations))).double().cpu().numpy()


def unpadded(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The arguments without a mask if there is one row, which has no padding."""
    return {name: tensor for name, tensor in given.items() if name != "mask" or len(tensor) > 1}
