"""`pocket-oft`: the embedded vision-language-action policy with parallel decoding and a regression head."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from envs.types import OSC_POSE, ActionSpec, Observation
from policies.pocket.folds import shared_structure
from policies.pocket.model import CAMERAS, PocketConfig, PocketOFTNet
from policies.pocket.words import encode
from quantizers.layout import LinearSite, ModelLayout, Role

WEIGHTS = Path(__file__).parent / "weights" / "pocket-oft"
"""Folder of the shipped checkpoint: config.json, model.safetensors, calibration.npz."""

_ROLES: tuple[tuple[str, Role], ...] = (
    ("vision.", "vision"), ("projector.", "projector"), ("state_projector.", "projector"), ("language.", "language"),
    ("action_head.", "action_head"),
)


def _forward(module: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return module(**batch)


def layout(module: PocketOFTNet) -> ModelLayout:
    """Every Linear of the network with its role, in the order of the forward pass, and how they hang together."""
    sites = [
        LinearSite(name, next(role for prefix, role in _ROLES if name.startswith(prefix)))
        for name, child in module.named_modules() if isinstance(child, nn.Linear)
    ]
    return ModelLayout(tuple(sites), _forward, **shared_structure(module.vision.encoder, module.language))


def save_weights(module: PocketOFTNet, folder: Path) -> None:
    """Write the checkpoint as fp16 safetensors with its sizes beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.half().contiguous() for name, tensor in module.state_dict().items()}
    save_file(half, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(module.config), indent=2) + "\n")


def load_network(folder: Path) -> PocketOFTNet:
    """The network of a checkpoint folder, fp32, for evaluation. Raises `FileNotFoundError` naming what is missing."""
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; `make pocket` trains the policy")
    module = PocketOFTNet(PocketConfig(**json.loads((folder / "config.json").read_text())))
    module.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()})
    return module.eval()


class PocketOFT:
    """The policy around the network: observations to tensors, tensors to legal actions."""

    name = "pocket-oft"
    action_spec: ActionSpec = OSC_POSE
    needs_privileged = False

    def __init__(self, folder: Path = WEIGHTS, module: PocketOFTNet | None = None):
        self.folder = folder
        self.module = module if module is not None else load_network(folder)
        self.image_size = self.module.config.image_size
        self.layout = layout(self.module)

    def network_config(self) -> dict[str, Any]:
        """The fields of `PocketConfig`."""
        return asdict(self.module.config)

    @classmethod
    def skeleton(cls, network: Mapping[str, Any]) -> PocketOFT:
        """See `policies.base.QuantizablePolicy`."""
        return cls(module=PocketOFTNet(PocketConfig(**network)).eval())

    def reset(self, noise_key: Sequence[int]) -> None:
        """Nothing is random and nothing is remembered."""

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments for B observations."""
        words, mask = encode([o.instruction for o in observations])
        images = np.stack([np.stack([o.images[camera] for camera in CAMERAS]) for o in observations])
        states = np.stack([o.state for o in observations])
        return {"images": torch.from_numpy(images), "state": torch.from_numpy(states), "words": words, "mask": mask}

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, 8, 7]: translation and rotation clipped to the legal range, the gripper open or closed."""
        with torch.inference_mode():
            chunk = self.module(**self.batch(observations)).numpy()
        chunk = np.clip(chunk, self.action_spec.low, self.action_spec.high)
        chunk[..., 6] = np.where(chunk[..., 6] > 0.0, 1.0, -1.0)
        return chunk

    def calibration_observations(self) -> tuple[list[Observation], list[str]]:
        """Training-side observations shipped with the checkpoint, and the name of the episode that each is from."""
        with np.load(self.folder / "calibration.npz", allow_pickle=False) as data:
            observations = [
                Observation(dict(zip(CAMERAS, images, strict=True)), state, str(text))
                for images, state, text in zip(data["images"], data["states"], data["instructions"], strict=True)
            ]
            return observations, [str(name) for name in data["episodes"]]
