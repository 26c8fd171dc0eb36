"""Observations and action chunks as openpi's LIBERO clients and servers exchange them.

Keys and conventions of `examples/libero/main.py` and `src/openpi/policies/libero_policy.py` of
Physical-Intelligence/openpi 15a9616: pictures are LIBERO's raw ones turned by 180 degrees, which are ours with left and
right swapped; they are rendered at 256 pixels and fitted into 224 x 224 without distortion, the rest black; the state
is the environment's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from envs.types import STATE_DIM, Observation
from policies.remote.wire import WireError

CAMERA_KEYS: Mapping[str, str] = {"agentview": "observation/image", "wrist": "observation/wrist_image"}
"""Camera -> key of its picture, uint8[H, W, 3]."""
STATE, PROMPT, ACTIONS = "observation/state", "prompt", "actions"
"""Keys of the state float[8], of the task in words, and in the answer of the chunk float[H, 7]."""
EPISODE = "qvla_bench/episode"
"""Key of what only our own server understands: `{"noise_key": [int, ...], "decision": int}`, which number of decision
in which episode this is, so that a policy that samples draws what it would have drawn in the harness's process."""
MAX_SIDE = 4096
"""Pixels of a picture's side at most."""


def encode(observation: Observation, size: int | None) -> dict[str, Any]:
    """The request for an observation; pictures are fitted into `size` x `size`, or sent as they are for None."""
    message: dict[str, Any] = {STATE: observation.state, PROMPT: observation.instruction}
    for camera, key in CAMERA_KEYS.items():
        if camera in observation.images:
            picture = np.ascontiguousarray(observation.images[camera][:, ::-1])
            message[key] = picture if size is None else fitted(picture, size)
    return message


def decode(message: Mapping[str, Any], cameras: Sequence[str], size: int) -> Observation:
    """The observation of a request, with the pictures of `cameras` fitted into `size` x `size`.

    Raises `WireError` that names the key, what is wrong and what is legal.
    """
    wanted = [*(CAMERA_KEYS[camera] for camera in cameras), STATE, PROMPT]
    missing = [key for key in wanted if key not in message]
    if missing:
        raise WireError(f"the observation lacks {', '.join(missing)}; it has {sorted(map(str, message))}")
    images = {camera: np.ascontiguousarray(fitted(picture(CAMERA_KEYS[camera], message), size)[:, ::-1])
              for camera in cameras}
    if not isinstance(message[PROMPT], str) or not message[PROMPT].strip():
        raise WireError(f"{PROMPT} must be the task in words, got {message[PROMPT]!r}")
    return Observation(images, _state(message[STATE]), message[PROMPT].strip().lower())


def fitted(image: np.ndarray, size: int) -> np.ndarray:
    """uint8[H, W, 3] -> uint8[size, size, 3]: scaled bilinearly without distortion, centred, black around it.

    An image of this size is given back as it is. The convention of tf.image.resize_with_pad, computed with Pillow as
    openpi's client does.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    ratio = max(height, width) / size
    shown = max(int(height / ratio), 1), max(int(width / ratio), 1)
    small = np.asarray(Image.fromarray(image).resize(shown[::-1], Image.Resampling.BILINEAR))
    canvas = np.zeros((size, size, 3), dtype=np.uint8)
    top, left = (size - shown[0]) // 2, (size - shown[1]) // 2
    canvas[top:top + shown[0], left:left + shown[1]] = small
    return canvas


def picture(key: str, message: Mapping[str, Any]) -> np.ndarray:
    """uint8[H, W, 3] of a request; floats in [0, 1] and channels first are understood, as openpi's servers do."""
    image = message[key]
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        image = image.transpose(1, 2, 0)
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or \
            not all(1 <= side <= MAX_SIDE for side in image.shape[:2]):
        raise WireError(f"{key} must be a picture uint8[H, W, 3] of 1 to {MAX_SIDE} pixels a side, got {_what(image)}")
    if image.dtype.kind == "f":
        if not ((image >= 0) & (image <= 1)).all():
            raise WireError(f"{key} has floating-point pixels that are NaN or outside of 0 to 1")
        image = (255 * image).astype(np.uint8)
    if image.dtype != np.uint8:
        raise WireError(f"{key} must be a picture of uint8, or of floats from 0 to 1, got {_what(image)}")
    return np.ascontiguousarray(image)


def chunk(answer: Mapping[str, Any], dim: int) -> np.ndarray:
    """float32[H, dim] of an answer, finite or not; raises `WireError` if it is no chunk of actions."""
    actions = answer.get(ACTIONS)
    if not isinstance(actions, np.ndarray) or actions.ndim != 2 or actions.dtype.kind not in "fiu" or \
            actions.shape[1] != dim or not len(actions):
        raise WireError(f"the answer must have {ACTIONS!r} of shape (H, {dim}) with H >= 1, got {_what(actions)}; "
                        f"it has the keys {sorted(map(str, answer))}")
    return actions.astype(np.float32)


def _state(value: Any) -> np.ndarray:
    state = np.asarray(value) if isinstance(value, list) else value
    if not isinstance(state, np.ndarray) or state.shape != (STATE_DIM,) or state.dtype.kind not in "fiu":
        raise WireError(f"{STATE} must be float[{STATE_DIM}]: position 3, axis-angle 3, fingers 2; got {_what(value)}")
    with np.errstate(over="ignore"):
        single = state.astype(np.float32)
    if not np.isfinite(single).all():
        raise WireError(f"{STATE} has a value that is not a finite float32: {state.tolist()}")
    return single


def _what(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
