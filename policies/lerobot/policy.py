"""Policies in LeRobot's classes: `pi0`, `pi05`, `smolvla`, `groot-n1.5`, with a suite or a checkpoint's folder behind a
colon.

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

from envs.types import OSC_POSE, ActionSpec, Observation
from policies.errors import CheckpointError
from policies.lerobot import eagle, groot, groot_layout, pi, pi_layout, published, smol
from policies.lerobot.recipe import SIZES, Recipe, read_files
from policies.lerobot.weights import load_weights_
from policies.openvla.calibration import stored_observations
from policies.openvla.published import Family, Place
from quantizers.layout import ModelLayout

CAMERAS = ("agentview", "wrist")
"""Our cameras, in the order of the checkpoints' picture features (`observation.images.image`, `...image2`)."""


def forward(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The normalized chunk float[B, H, A] of a batch, differentiable."""
    return module(**batch)


class LeRobotPolicy:
    """See `policies.base.QuantizablePolicy`. The noise of a decision follows from the episode's key and its number."""

    kind: ClassVar[str]
    """LeRobot's name of the policy."""
    family: ClassVar[Family]
    """Its published checkpoints."""
    reads_state: ClassVar[bool] = True
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
        recipe = Recipe(read_files(folder), self.kind)
        sizes = json.loads((folder / SIZES).read_text()) if (folder / SIZES).is_file() else self.read_sizes(recipe)
        self._settle(recipe, sizes)
        self._suite, self._folder = place.suite, folder
        load_weights_(self.module, folder)

    def _settle(self, recipe: Recipe, sizes: Mapping[str, Any] | None) -> None:
        self.name, self.device = self.family.name, torch.device("cpu")
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

    def read_sizes(self, recipe: Recipe) -> Mapping[str, Any] | None:
        """The sizes of the network of a checkpoint that does not hold them; None for LeRobot's own."""
        return None

    def network_config(self) -> dict[str, Any]:
        """The checkpoint's small files and the sizes of its network; a tokenizer is only named."""
        return {"files": dict(self._recipe.files), "sizes": self._sizes}

    @classmethod
    def skeleton(cls, network: Mapping[str, Any]) -> Self:
        """See `policies.base.QuantizablePolicy`."""
        policy = cls.__new__(cls)
        policy._settle(Recipe(network["files"], cls.kind), network["sizes"])
        return policy

    def to(self, device: str) -> Self:
        """See `policies.base.MovablePolicy`."""
        self.device = torch.device(device)
        self.module.to(self.device)
        return self

    def reset(self, noise_key: Sequence[int]) -> None:
        """Begin an episode: the next call is decision 0 of `noise_key`."""
        self._key, self._decision = tuple(int(number) for number in noise_key), 0

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments, with noise that follows from each observation's own state."""
        drawn = [self._noise(o.state.astype(np.float32).view(np.uint32).tolist()) for o in observations]
        return self.inputs(observations) | {"noise": torch.stack(drawn)}

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, H, 7] of the next decision, whose noise all observations share, clipped to the limits as LIBERO's
        controller does.
        """
        decision = (self._key, self._decision)
        self._decision += 1
        return self.act_keyed(observations, [decision] * len(observations))

    def act_keyed(self, observations: Sequence[Observation], decisions: Sequence[tuple[Sequence[int], int]]
                  ) -> np.ndarray:
        """See `policies.base.KeyedPolicy`."""
        # The length keeps a key from being continued by the decision's number into another episode's key.
        drawn = torch.stack([self._noise([len(key), *key, decision]) for key, decision in decisions])
        with torch.inference_mode():
            chunk = self.module(**self.inputs(observations), noise=drawn).cpu()
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

    def inputs(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """The network's arguments for B observations, but for the noise."""
        return {name: tensor.to(self.device) for name, tensor in self._inputs(observations).items()}

    def _inputs(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        ready = self._prepared(observations)
        images, masks = self._pictures(ready)
        inputs = {"images": torch.stack(images, dim=1), "image_masks": torch.stack(masks, dim=1),
                  "tokens": ready[OBS_LANGUAGE_TOKENS], "token_masks": ready[OBS_LANGUAGE_ATTENTION_MASK].bool()}
        if self.reads_state:
            inputs["state"] = pad_vector(ready[OBS_STATE], self._recipe.config.max_state_dim)
        return inputs

    def _prepared(self, observations: Sequence[Observation]) -> Mapping[str, Any]:
        """What LeRobot's pipeline makes of observations as LeRobot's own evaluation shows them."""
        batch: dict[str, Any] = {OBS_STATE: torch.from_numpy(np.stack([o.state for o in observations])),
                                 "task": [o.instruction for o in observations]}
        for feature, camera in self._features.items():
            # LeRobot flips both axes of LIBERO's raw picture, which is ours with left and right swapped.
            pictures = np.stack([o.images[camera][:, ::-1] for o in observations])
            batch[feature] = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        return self._recipe.before(batch)

    def _pictures(self, ready: Mapping[str, Any]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Per camera float[B, 3, S, S] in [-1, 1] and bool[B], as LeRobot's policy makes them."""
        return self._lerobot._preprocess_images(ready)

    def _noise_shape(self) -> tuple[int, int]:
        return self._recipe.config.chunk_size, self._recipe.config.max_action_dim

    def _noise(self, key: Sequence[int]) -> torch.Tensor:
        """Standard normal float32[H, A] from numbers of 0 or more: equal keys, equal noise, on every machine."""
        drawn = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key)))).standard_normal(
            self._noise_shape(), dtype=np.float32)
        return torch.from_numpy(drawn).to(self.device)


class Pi0(LeRobotPolicy):
    """pi0 (Black et al. 2024)."""

    kind, family = "pi0", published.PI0
    build, structure = staticmethod(pi.build), staticmethod(pi_layout.structure)


class Pi05(LeRobotPolicy):
    """pi0.5 (Physical Intelligence 2025); its state is written into the prompt."""

    kind, family, reads_state = "pi05", published.PI05, False
    build, structure = staticmethod(pi.build), staticmethod(pi_layout.structure)


class SmolVLA(LeRobotPolicy):
    """SmolVLA (Shukor et al. 2025). The config and processor of its SmolVLM must be on the machine as well."""

    kind, family = "smolvla", published.SMOLVLA
    build, structure = staticmethod(smol.build), staticmethod(smol.structure)

    def _pictures(self, ready: Mapping[str, Any]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return self._lerobot.prepare_images(ready)


class Groot(LeRobotPolicy):
    """GR00T N1.5 (NVIDIA 2025). The config of its base model and the files of its Eagle must be on the machine as well.

    LeRobot's pipeline gives every observation of a batch the first one's words, so it is asked one by one.
    """

    kind, family = "groot", published.GROOT
    build, structure = staticmethod(groot.build), staticmethod(groot_layout.structure)

    def read_sizes(self, recipe: Recipe) -> Mapping[str, Any]:
        """From the base model and the Eagle that the checkpoint names. Raises `CheckpointMissing` without them."""
        return eagle.read_sizes(recipe.config)

    def _settle(self, recipe: Recipe, sizes: Mapping[str, Any] | None) -> None:
        eagle.give_processor_(recipe.before, recipe.config.tokenizer_assets_repo)
        super()._settle(recipe, sizes)

    def _inputs(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        ready = [self._prepared([observation]) for observation in observations]
        rows, network = [one["eagle_input_ids"][0] for one in ready], self.module.model.backbone.eagle_model
        places = network.num_image_token * len(self._features)
        if any((row == network.image_token_index).sum() != places for row in rows):
            raise CheckpointError(f"the Eagle's processor does not leave {places} places for pictures in the words; "
                                  "its processor_config.json and config.json are of different models")
        inputs = {"images": torch.stack([one["eagle_pixel_values"] for one in ready]),
                  "state": torch.cat([one["state"] for one in ready]),
                  "embodiment": torch.cat([one["embodiment_id"] for one in ready])}
        longest = max(map(len, rows))
        if len(rows) > 1:  # one row has no padding
            inputs["token_masks"] = torch.stack([torch.arange(longest) >= longest - len(row) for row in rows])
        # What stands in the padding is never seen; it only must not be a picture's place.
        return inputs | {"tokens": torch.stack([torch.cat([row.new_zeros(longest - len(row)), row]) for row in rows])}

    def _noise_shape(self) -> tuple[int, int]:
        return self.module.noise_shape
