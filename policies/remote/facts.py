"""What a server says of itself when a client connects, and what is taken for granted of one that says nothing.

openpi's servers send the metadata of their training config, often nothing. `qvla-bench serve` puts its facts under one
key of the same map, so that clients of either kind read what they know.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from envs.types import OSC_POSE, ActionSpec
from policies.conventions import INSTRUCTION, OPEN_CLOSE, POSE_AND_FINGERS, Conventions
from policies.remote.message import CAMERA_KEYS
from policies.remote.wire import WireError, plain

KEY = "qvla_bench"
"""Key of our own server's facts in the metadata."""
OPENPI_SIZE = 224
"""Side in pixels into which openpi's LIBERO client fits pictures."""
OPENPI = Conventions(tuple(CAMERA_KEYS), 256, mirrored=True, jpeg=False, resize=f"pad to {OPENPI_SIZE}", crop_area=None,
                     state=POSE_AND_FINGERS, prompt=INSTRUCTION, horizon=None, gripper=OPEN_CLOSE, sampling=None)
"""What openpi's LIBERO client shows any server; what its network makes of it is not known here."""


def describe(name: str, image_size: int, action_spec: ActionSpec, trained_on: Conventions | None,
             identity: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of our own server; `identity` says what it serves (policy, weights, method, version)."""
    conventions = None if trained_on is None else dataclasses.asdict(trained_on)
    return {KEY: {"name": name, "image_size": image_size, "action_spec": dataclasses.asdict(action_spec),
                  "trained_on": conventions, **identity}}


@dataclasses.dataclass(frozen=True)
class ServerFacts:
    """The metadata of a server, understood."""

    metadata: Mapping[str, Any]
    """All that it said, as JSON: it identifies what is served."""
    own: bool
    """Whether it is `qvla-bench serve`, which understands more than the protocol asks for."""
    name: str
    """What it says it serves."""
    image_size: int
    """Side in pixels of the pictures that the environment renders for it."""
    sent_size: int | None
    """Side into which they are fitted before they are sent, None if they are sent as they are."""
    action_spec: ActionSpec
    """The convention of its actions."""
    trained_on: Conventions | None
    """What it declares of its network."""


def understand(metadata: Mapping[str, Any]) -> ServerFacts:
    """The facts in a server's metadata; raises `WireError` for facts of ours that are broken."""
    said = plain(metadata)
    if KEY not in said:
        return ServerFacts(said, False, "an openpi server", OPENPI.image_size, OPENPI_SIZE, OSC_POSE, OPENPI)
    try:
        facts = said[KEY]
        spec = ActionSpec(**{**facts["action_spec"], "hold": tuple(facts["action_spec"]["hold"])})
        return ServerFacts(said, True, str(facts["name"]), int(facts["image_size"]), None, spec,
                           conventions(facts["trained_on"]))
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"the server's metadata under {KEY!r} cannot be understood ({type(error).__name__} {error}); "
                        "it is of another version of qvla-bench") from error


def conventions(said: Mapping[str, Any] | None) -> Conventions | None:
    """The conventions that were written as JSON."""
    if said is None:
        return None
    cameras = said["cameras"]
    return Conventions(**{**said, "cameras": None if cameras is None else tuple(cameras)})
