"""A vision-language-action network for the toy world whose weights are computed instead of trained.

Pixels go through a patch embedding and a projector that read off the centroids of both cubes, the instruction
through a text embedding that selects one, and two ReLU layers and an action head turn the offset to it into a chunk.
Each step is linear or a ReLU, so the weights can be written down; a little seeded noise on every weight gives a
quantizer something to trade. It exists so that every part of the harness, quantization included, runs in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from envs.types import OSC_POSE, ActionSpec, Observation
from quantizers.folds import LinearFold
from quantizers.layout import LinearSite, ModelLayout

CHUNK = 8
"""Actions in one chunk."""
SIZE, PATCH, WIDTH = 32, 8, 64
"""Side of the image and of a patch in pixels; width of every hidden layer."""
GAIN, DECAY = 0.3, 0.72
"""Action h of a chunk is (offset / step) * GAIN * DECAY**h: sums to the offset and never overshoots when clipped."""
NOISE = 2e-4
"""Standard deviation of the seeded noise that is added to every weight."""
COLORS = ("red", "blue")
"""The words of the instruction that matter, in the order of their image channels 0 and 2."""
HALF_TABLE_M, CUBE_M, STEP_M, OPEN_M, HELD_M, LIFT_M = 0.2, 0.04, 0.01, 0.04, 0.02, 0.10
"""What training in the toy world would have taught: its sizes, its travel per step, its finger positions."""
BACKGROUND, COLOR = 30 / 255, 200 / 255
"""Pixel value of the bare table, and what a cube adds to its channel."""
CALIBRATION_EPISODES = 16
"""Drawn placements that the calibration observations show; none is an official init state."""


class ToyNetwork(torch.nn.Module):
    """images float32[B,32,32,3] in [0,1], words float32[B,2] one-hot, state float32[B,8] -> float32[B,8,7]."""

    def __init__(self) -> None:
        super().__init__()
        patches = (SIZE // PATCH) ** 2
        self.vision = torch.nn.Linear(PATCH * PATCH * 3, WIDTH)
        self.projector = torch.nn.Linear(patches * WIDTH, WIDTH)
        self.words = torch.nn.Linear(len(COLORS), WIDTH)
        self.select = torch.nn.Linear(2 * WIDTH + 8, WIDTH)
        self.offset = torch.nn.Linear(WIDTH, WIDTH)
        self.action_head = torch.nn.Linear(WIDTH, CHUNK * OSC_POSE.dim)

    def forward(self, images: torch.Tensor, words: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        side = SIZE // PATCH
        patches = images.reshape(-1, side, PATCH, side, PATCH, 3).transpose(2, 3).reshape(-1, side * side, PATCH**2 * 3)
        seen = self.projector(self.vision(patches).flatten(1))
        hidden = torch.relu(self.select(torch.cat([seen, self.words(words), state], dim=1)))
        return self.action_head(torch.relu(self.offset(hidden))).reshape(-1, CHUNK, OSC_POSE.dim)


def _planted() -> ToyNetwork:
    """The network with its weights written down, plus seeded noise."""
    network = ToyNetwork().requires_grad_(False)
    for parameter in network.parameters():
        parameter.zero_()
    _plant_centroids(network)
    _plant_offsets(network)
    _plant_actions(network)
    generator = torch.Generator().manual_seed(0)
    for module in (network.select, network.offset, network.action_head):
        module.weight += NOISE * torch.randn(module.weight.shape, generator=generator)
    return network.requires_grad_(True).eval()


def _plant_centroids(network: ToyNetwork) -> None:
    """Projector outputs 0..3: x and y of the red cube, x and y of the blue one, in half tables.

    A cube's colour adds 200/255 to one channel over CUBE_M squared, whatever the pixel grid; so the weighted sum of
    the channel is its centroid once the background's constant sum is taken off.
    """
    pixel = 2 * HALF_TABLE_M / SIZE
    mass = COLOR * (CUBE_M / pixel) ** 2
    local = (torch.arange(PATCH) + 0.5 - PATCH / 2) * 2 / SIZE
    grid = torch.zeros(PATCH, PATCH, 3)
    for cube, channel in enumerate((0, 2)):
        for row, image in enumerate((torch.ones(PATCH, PATCH), local.expand(PATCH, PATCH),
                                     -local[:, None].expand(PATCH, PATCH))):
            grid.zero_()
            grid[..., channel] = image
            network.vision.weight[3 * cube + row] = grid.flatten()
    side = SIZE // PATCH
    centre = (torch.arange(side) + 0.5) * 2 / side - 1
    weight = network.projector.weight.view(WIDTH, side, side, WIDTH)
    for cube in range(len(COLORS)):
        for axis, at in enumerate((centre.expand(side, side), -centre[:, None].expand(side, side))):
            weight[2 * cube + axis, :, :, 3 * cube] = at / mass
            weight[2 * cube + axis, :, :, 3 * cube + 1 + axis] = 1 / mass


def _plant_offsets(network: ToyNetwork) -> None:
    """`select` keeps the named cube's centroid and shifts the state to be positive; `offset` takes the difference."""
    network.words.weight[0, 0] = network.words.weight[1, 1] = 1.0
    select, words, state = network.select, WIDTH, 2 * WIDTH
    for cube in range(len(COLORS)):
        for axis in range(2):
            unit = 2 * cube + axis
            select.weight[unit, unit] = 1.0
            select.weight[unit, words + 1 - cube] = -4.0
            select.bias[unit] = 2.0
    for axis in range(3):
        select.weight[4 + axis, state + axis] = 1 / HALF_TABLE_M
        select.bias[4 + axis] = 2.0
    select.weight[7, state + 6] = 1 / OPEN_M
    offset = network.offset
    for axis in range(3):
        for sign, unit in ((1.0, 2 * axis), (-1.0, 2 * axis + 1)):
            offset.weight[unit, 4 + axis] = -sign
            if axis < 2:
                offset.weight[unit, [axis, 2 + axis]] = sign
            else:
                offset.bias[unit] = sign * (2.0 + CUBE_M / 2 / HALF_TABLE_M)
    # Closed fingers stand at half of their open position; the unit is 0 when open and 1 when they hold a cube.
    offset.weight[6, 7], offset.bias[6] = -1 / (1 - HELD_M / OPEN_M), 1 / (1 - HELD_M / OPEN_M)


def _plant_actions(network: ToyNetwork) -> None:
    head = network.action_head.weight.view(CHUNK, OSC_POSE.dim, WIDTH)
    bias = network.action_head.bias.view(CHUNK, OSC_POSE.dim)
    per_action = HALF_TABLE_M / STEP_M * GAIN
    for h in range(CHUNK):
        for axis in range(3):
            head[h, axis, 2 * axis], head[h, axis, 2 * axis + 1] = per_action * DECAY**h, -per_action * DECAY**h
        head[h, 2, 6] = 2 * per_action * LIFT_M / HALF_TABLE_M
        head[h, 6, :6], head[h, 6, 6], bias[h, 6] = -60.0, 60.0, 2.0


class ToyVLA:
    """See `policies.base.Policy` and `policies.base.QuantizablePolicy`."""

    name = "toy-vla"
    action_spec: ActionSpec = OSC_POSE
    image_size = SIZE
    needs_privileged = False

    def __init__(self, module: ToyNetwork | None = None) -> None:
        self.module, self._device = _planted() if module is None else module, "cpu"
        roles = {"vision": "vision", "projector": "projector", "words": "language", "select": "language",
                 "offset": "language", "action_head": "action_head"}
        sites = tuple(LinearSite(name, role) for name, role in roles.items())
        # ReLU lets a positive scale through.
        folds = (LinearFold("select", ("offset",)), LinearFold("offset", ("action_head",)))
        self.layout = ModelLayout(sites, _forward, folds)

    def network_config(self) -> dict[str, Any]:
        """Nothing: every network of the toy world has the same sizes."""
        return {}

    @classmethod
    def skeleton(cls, network: Mapping[str, Any]) -> ToyVLA:
        """See `policies.base.QuantizablePolicy`."""
        if network:
            raise ValueError(f"the toy network has no sizes to choose, got {dict(network)}")
        return cls(ToyNetwork().eval())

    def reset(self, noise_key: Sequence[int]) -> None:
        """Nothing is random here."""

    def batch(self, observations: Sequence[Observation]) -> dict[str, torch.Tensor]:
        """`images`, `words` and `state` of the network."""
        images = np.stack([o.images["agentview"] for o in observations]).astype(np.float32) / 255 - BACKGROUND
        words = [[float(color in o.instruction) for color in COLORS] for o in observations]
        made = {"images": torch.from_numpy(images), "words": torch.tensor(words),
                "state": torch.from_numpy(np.stack([o.state for o in observations]))}
        return {name: tensor.to(self._device) for name, tensor in made.items()}

    def to(self, device: str) -> ToyVLA:
        """See `policies.base.MovablePolicy`."""
        self.module.to(device)
        self._device = device
        return self

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, 8, 7], clipped to the limits."""
        with torch.inference_mode():
            chunk = _forward(self.module, self.batch(observations))
        return chunk.clamp(self.action_spec.low, self.action_spec.high).cpu().numpy()

    def calibration_observations(self) -> tuple[list[Observation], list[str]]:
        """Observations of drawn placements, and the name of the episode that each comes from."""
        names = [f"toy/drawn-{seed}" for seed in range(CALIBRATION_EPISODES)]
        return [_drawn(seed) for seed in range(CALIBRATION_EPISODES)], names


def _drawn(seed: int) -> Observation:
    """A picture and a state like those of the toy world, with the cubes on whole pixels."""
    random = np.random.default_rng([seed, 3])
    image = np.full((SIZE, SIZE, 3), round(255 * BACKGROUND), dtype=np.uint8)
    for channel in (0, 2):
        row, column = random.integers(2, SIZE - 5, size=2)
        image[row:row + 3, column:column + 3, channel] += round(255 * COLOR)
    finger = random.choice([OPEN_M, HELD_M])
    state = np.array([*random.uniform([-0.15, -0.15, 0.02], [0.15, 0.15, 0.12]), 0, 0, 0, finger, -finger], np.float32)
    return Observation({"agentview": image}, state, f"lift the {COLORS[seed % 2]} cube")


def _forward(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return module(batch["images"], batch["words"], batch["state"])
