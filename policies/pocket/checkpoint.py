"""The checkpoint folder of a pocket policy (config.json, model.safetensors, calibration.npz); roles of its Linears."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file
from torch import nn

from envs.types import Observation
from policies.pocket.autoregressive import PocketTokenNet
from policies.pocket.diffusion import FlowConfig, PocketFlowNet
from policies.pocket.model import CAMERAS, Backbone, PocketConfig, PocketOFTNet
from quantizers.layout import LinearSite, Role

NETWORKS: dict[str, tuple[type[Backbone], type[PocketConfig]]] = {
    "oft": (PocketOFTNet, PocketConfig),
    "token": (PocketTokenNet, PocketConfig),
    "flow": (PocketFlowNet, FlowConfig),
}
"""Head -> class of the network and of its sizes."""

ROLES: tuple[tuple[str, Role], ...] = (
    ("vision.", "vision"), ("projector.", "projector"), ("state_projector.", "projector"), ("language.", "language"),
    ("lm_head", "lm_head"), ("action_head.", "action_head"), ("dit.blocks.", "dit"), ("dit.", "action_head"),
)
"""Beginning of a Linear's name -> role; the first that fits."""


def weights_folder(head: str) -> Path:
    """Folder of the shipped checkpoint."""
    return Path(__file__).parent / "weights" / f"pocket-{head}"


def sites(module: nn.Module) -> tuple[LinearSite, ...]:
    """Every Linear of a network with its role, in the order of the forward pass."""
    return tuple(
        LinearSite(name, _role(name)) for name, child in module.named_modules() if isinstance(child, nn.Linear)
    )


def _role(name: str) -> Role:
    # The time modulates; it is computed once a step, and everything else follows from it.
    if name.startswith("dit.") and ".norm" in name:
        return "action_head"
    return next(role for prefix, role in ROLES if name.startswith(prefix))


def save_weights(module: Backbone, folder: Path) -> None:
    """Write the checkpoint as fp16 safetensors with its sizes beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.half().contiguous() for name, tensor in module.state_dict().items()}
    save_file(half, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(module.config), indent=2) + "\n")


def load_network(folder: Path, head: str) -> Backbone:
    """The network of a checkpoint folder, fp32, for evaluation.

    Raises `FileNotFoundError` naming what is missing, and ValueError for the checkpoint of another head.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; `make pocket` trains pocket-{head}")
    network, config = NETWORKS[head]
    try:
        module = network(config(**json.loads((folder / "config.json").read_text())))
        tensors = load_file(folder / "model.safetensors")
        module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{folder} does not hold a network with the head {head!r}: {error}") from error
    return module.eval()


def calibration_observations(folder: Path) -> tuple[list[Observation], list[str]]:
    """Training-side observations shipped with the checkpoint, and the name of the episode that each is from."""
    with np.load(folder / "calibration.npz", allow_pickle=False) as data:
        observations = [
            Observation(dict(zip(CAMERAS, images, strict=True)), state, str(text))
            for images, state, text in zip(data["images"], data["states"], data["instructions"], strict=True)
        ]
        return observations, [str(name) for name in data["episodes"]]
