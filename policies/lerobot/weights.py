"""Read the weights of a LeRobot checkpoint into a network, key for key."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from policies.errors import CheckpointError

WRAPPER = "_groot_model."
"""What LeRobot's policy of GR00T has before the names of its network; other policies have "model.", or nothing."""
EAGLE = "backbone.eagle_model"
UNREAD = ("paligemma_with_expert.gemma_expert.lm_head.", "vlm_with_expert.vlm.lm_head.",
          f"{EAGLE}.vision_model.vision_model.head.")
"""Beginnings of the keys of what the networks never use: heads for words, and a tower's pooling."""
TIED = {f"model.{part}.lm_head.weight": f"model.{part}.{words}.embed_tokens.weight" for part, words in (
    ("paligemma_with_expert.paligemma", "model.language_model"), (f"{EAGLE}.language_model", "model"))}
"""A head that shares its weight with embeddings -> those, of which a file has one or both."""


def load_weights_(module: torch.nn.Module, folder: Path) -> None:
    """Load `model.safetensors`, key for key. Raises `CheckpointError` for missing, unexpected or misshapen ones."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no model.safetensors; pickled weights are not read, convert them first")
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}; download it again") from error
    given = {f"model.{key.removeprefix(WRAPPER).removeprefix('model.')}": value for key, value in found.items()
             if not key.removeprefix(WRAPPER).removeprefix("model.").startswith(UNREAD)}
    for head, words in TIED.items():
        if (tied := given.pop(head, None)) is not None:
            given.setdefault(words, tied)
    wanted = dict(module.state_dict())
    missing, unexpected = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    shapes = [key for key in wanted.keys() & given.keys() if wanted[key].shape != given[key].shape]
    if missing or unexpected or shapes:
        first = (missing or unexpected or shapes)[0]
        raise CheckpointError(f"{path} does not fit the network: {len(missing)} keys are missing, {len(unexpected)} "
                              f"unexpected, {len(shapes)} of another shape; first: {first}")
    module.load_state_dict(given)
