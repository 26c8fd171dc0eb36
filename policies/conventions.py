"""What a network was trained to be shown and to answer, as data that can be compared.

A published evaluation script and a checkpoint belong together: pictures that are mirrored, cropped or resized
otherwise than in training cost a policy much of its success. Both sides therefore declare the same fields, and where
they differ every result says so.
"""

from __future__ import annotations

from dataclasses import dataclass

POSE_AND_FINGERS = "position 3, axis-angle 3, fingers 2"
"""The state vector of `envs.types.STATE_DIM`."""

OPEN_CLOSE = "-1 opens, +1 closes"
"""The gripper number of `envs.types.OSC_POSE`."""

OPEN_ONE = "0 closes, 1 opens"
"""The gripper number of OpenVLA's training data."""

OPENVLA_PROMPT = "In: What action should the robot take to {instruction}?\nOut:"
"""What every network of OpenVLA's kind is asked."""

INSTRUCTION = "{instruction}"
"""The prompt that is the task in words and nothing else."""


@dataclass(frozen=True)
class Conventions:
    """One side's declaration; None in a field means that this side does not fix it."""

    cameras: tuple[str, ...] | None = None
    """Cameras of an observation that the network sees; () for a policy that reads no pictures."""
    image_size: int | None = None
    """Side in pixels of the square pictures that the environment renders."""
    mirrored: bool | None = None
    """Whether left and right are swapped. LIBERO's raw pictures are upside down and nothing else, so the usual turn by
    180 degrees (both axes flipped) gives an upright picture that is mirrored. Our observations are upright and not."""
    jpeg: bool | None = None
    """Whether the picture goes through JPEG before it is resized, as the training data did."""
    resize: str | None = None
    """How the rendered picture gets the network's size: "none", "lanczos3 to 224", "pad to 224"."""
    crop_area: float | None = None
    """Share of the area that a centred crop keeps; 1.0 crops nothing."""
    state: str | None = None
    """Proprioception: "none", or its parts with their dimensions."""
    prompt: str | None = None
    """The text that the language model gets, with {instruction} for the task in lower case."""
    horizon: int | None = None
    """Actions in one chunk."""
    gripper: str | None = None
    """What the network's own gripper number means, before the policy turns it into the environment's convention."""
    sampling: bool | None = None
    """Whether actions are drawn with noise (flow matching, diffusion) instead of computed."""
