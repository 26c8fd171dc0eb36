"""Policies in LeRobot's classes: `pi0`, `pi05`, `smolvla`, with a suite or the folder of a checkpoint behind a colon.

LeRobot's own pipelines make the network's inputs and undo the normalization of its actions; its `from_pretrained`,
which goes on with arbitrary weights where a file cannot be read, is not used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from lerobot.policies.pi0.modeling_pi0 import pad_vector
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from safetensors import SafetensorError
from safetensors.torch import load_file

from envs.types import OSC_POSE, ActionSpec, Observation
from policies.errors import CheckpointError
from policies.lerobot import pi, pi_layout, published, smol
from policies.lerobot.recipe import SIZES, Recipe, read_files
from policies.openvla.calibration import stored_observations
from policies.openvla.published import Family, Place
from quantizers.layout import ModelLayout

CAMERAS = ("agentview", "wrist")
"""Our cameras, in the order of the checkpoints' picture features (`observation.images.image`, `...image2`)."""
NOISE_WORD = 2**32
"""Numbers of a noise key are below it."""


def forward(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The normalized chunk float[B, H, A] of a batch, differentiable."""
    return module(**batch)


class LeRobotPolicy:
    """See `policies.base.QuantizablePolicy`. The noise of a decision follows from the episode's key and its number."""

    kind: ClassVar[str]
    """LeRobot's name of the policy."""
    family: ClassVar[Family]
    """Its published checkpoints."""
    reads_state: ClassVar[bool]
    """Whether the network is given the state; if not, it stands in the prompt."""
    build: ClassVar[Callable[..., tuple[Any, torch.nn.Module]]]
    """`(kind, config, sizes)` -> LeRobot's policy and the network in it, with arbitrary weights."""
    structure: ClassVar[Callable[[torch.nn.Module], dict[str, Any]]]
    """The network's layout, but for `forward`."""
    action_spec: ActionSpec = OSC_POSE
    image_size = 256
    needs_privileged = False

    def __init__(self, argument: str) -> None:
        """The checkpoint that `argument`, in full form, names.

        Raises `CheckpointMissing` if it is not here, `CheckpointError` if it is not whole or of another kind of policy.
        """
        place = Place.of(argument)
        folder = self.family.folder(argument)
        sizes = json.loads((folder / SIZES).read_text()) if (folder / SIZES).is_file() else None
        self._settle(Recipe(read_files(folder), self.kind), sizes)
        self._suite, self._folder = place.suite, folder
        load_weights_(self.module, folder)

    def _settle(self, recipe: Recipe, sizes: Mapping[str, Any] | None) -> None:
        self.name = self.kind
        self._recipe, self._sizes = recipe, sizes
        self._lerobot, self.module = type(self).build(self.kind, recipe.config, sizes)
        features = [name for name in recipe.config.image_features if "empty_camera" not in name]
        if not 1 <= len(features) <= len(CAMERAS):
            raise CheckpointError(f"the checkpoint sees {len(features)} cameras ({', '.join(features)}); the suites "
                                  f"here have {', '.join(CAMERAS)}")
        self._features = dict(zip(features, CAMERAS, strict=False))
        self.layout = ModelLayout(forward=forward, **type(self).structure(self.module))
        self._suite: str | None = None
        self._folder: Path | None = None
        self.reset(())

    def network_config(self) -> dict[str, Any]:
        """The checkpoint's small files and the sizes of its network; a tokenizer is only named."""
        return {"files": dict(self._recipe.files), "sizes": self._sizes}

    @classmethod
    def skeleton(cls, network: Mapping[str, Any]) -> Self:
        """See `policies.base.QuantizablePolicy`."""
        policy = cls.__new__(cls)
        policy._settle(Recipe(network["files"], cls.kind), network["sizes"])
        return policy

    def reset(self, noise_key: Sequence[int]) -> None:
        """Begin an episode: the next call is decision 0 of `noise_key`."""
        self._key, self._decision = tuple(int(number) for number in noise_key), 0

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments, with noise that follows from each observation's own state."""
        drawn = [self._noise(o.state.astype(np.float32).view(np.uint32).tolist()) for o in observations]
        return self._inputs(observations) | {"noise": torch.stack(drawn)}

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, H, 7], clipped to the limits as LIBERO's controller does."""
        noise = self._noise([len(self._key), *self._key, self._decision]).expand(len(observations), -1, -1)
        self._decision += 1
        with torch.inference_mode():
            chunk = self.module(**self._inputs(observations), noise=noise)
        dim = self._recipe.config.output_features["action"].shape[0]
        if dim != self.action_spec.dim:
            raise CheckpointError(f"the checkpoint's actions have {dim} numbers, LIBERO's {self.action_spec.dim}")
        # The pipeline takes actions of one moment; its affine map is the same for all.
        flat = self._recipe.after(chunk[..., :dim].flatten(0, 1).float())
        answer = flat.reshape(len(observations), -1, dim).numpy().astype(np.float32)
        return np.clip(answer, self.action_spec.low, self.action_spec.high)

    def calibration_observations(self) -> tuple[list[Observation], list[str]]:
        """Recorded observations of the suite, and the name of the episode of each."""
        return stored_observations(self._folder, self._suite, tuple(self._features.values()))

    def _inputs(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        batch: dict[str, Any] = {OBS_STATE: torch.from_numpy(np.stack([o.state for o in observations])),
                                 "task": [o.instruction for o in observations]}
        for feature, camera in self._features.items():
            # LeRobot flips both axes of LIBERO's raw picture, which is ours with left and right swapped.
            pictures = np.stack([o.images[camera][:, ::-1] for o in observations])
            batch[feature] = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        ready = self._recipe.before(batch)
        images, masks = self._pictures(ready)
        inputs = {"images": torch.stack(images, dim=1), "image_masks": torch.stack(masks, dim=1),
                  "tokens": ready[OBS_LANGUAGE_TOKENS], "token_masks": ready[OBS_LANGUAGE_ATTENTION_MASK].bool()}
        if self.reads_state:
            inputs["state"] = pad_vector(ready[OBS_STATE], self._recipe.config.max_state_dim)
        return inputs

    def _pictures(self, ready: Mapping[str, Any]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Per camera float[B, 3, S, S] in [-1, 1] and bool[B], as LeRobot's policy makes them."""
        return self._lerobot._preprocess_images(ready)

    def _noise(self, key: Sequence[int]) -> torch.Tensor:
        """Standard normal float32[H, A] from numbers of 0 or more: equal keys, equal noise, on every machine."""
        config = self._recipe.config
        drawn = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key)))).standard_normal(
            (config.chunk_size, config.max_action_dim), dtype=np.float32)
        return torch.from_numpy(drawn)


class Pi0(LeRobotPolicy):
    """pi0 (Black et al. 2024)."""

    kind, family, reads_state = "pi0", published.PI0, True
    build, structure = staticmethod(pi.build), staticmethod(pi_layout.structure)


class Pi05(LeRobotPolicy):
    """pi0.5 (Physical Intelligence 2025); its state is written into the prompt."""

    kind, family, reads_state = "pi05", published.PI05, False
    build, structure = staticmethod(pi.build), staticmethod(pi_layout.structure)


class SmolVLA(LeRobotPolicy):
    """SmolVLA (Shukor et al. 2025). The config and processor of its SmolVLM must be on the machine as well."""

    kind, family, reads_state = "smolvla", published.SMOLVLA, True
    build, structure = staticmethod(smol.build), staticmethod(smol.structure)

    def _pictures(self, ready: Mapping[str, Any]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return self._lerobot.prepare_images(ready)


def load_weights_(module: torch.nn.Module, folder: Path) -> None:
    """Load `model.safetensors`, key for key. Raises `CheckpointError` for missing, unexpected or misshapen ones."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no model.safetensors; pickled weights are not read, convert them first")
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}; download it again") from error
    given = {key if key.startswith("model.") else f"model.{key}": value for key, value in found.items()}
    both = "model.paligemma_with_expert"
    tied = given.pop(f"{both}.paligemma.lm_head.weight", None)
    for unasked in (f"{both}.gemma_expert.lm_head.weight", "model.vlm_with_expert.vlm.lm_head.weight"):
        given.pop(unasked, None)
    if tied is not None:
        given.setdefault(f"{both}.paligemma.model.language_model.embed_tokens.weight", tied)
    wanted = dict(module.state_dict())
    missing, unexpected = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    shapes = [key for key in wanted.keys() & given.keys() if wanted[key].shape != given[key].shape]
    if missing or unexpected or shapes:
        first = (missing or unexpected or shapes)[0]
        raise CheckpointError(f"{path} does not fit the network: {len(missing)} keys are missing, {len(unexpected)} "
                              f"unexpected, {len(shapes)} of another shape; first: {first}")
    module.load_state_dict(given)
