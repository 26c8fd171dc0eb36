"""Pictures of a user's own as a policy wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from bench.errors import UsageError
from envs.types import STATE_DIM


def read_picture(path: Path, where: str, size: int) -> np.ndarray:
    """uint8[S, S, 3] of an image file. Raises `UsageError`, saying `where` it was named, if it cannot be read."""
    if not path.is_file():
        raise UsageError(f"{where}: there is no image {path}")
    try:
        with Image.open(path) as image:
            return fitted(np.asarray(image.convert("RGB")), where, size)
    except (OSError, UnidentifiedImageError) as error:
        raise UsageError(f"{where}: {path} is not an image that can be read: {error}") from error


def fitted(picture: np.ndarray, where: str, size: int) -> np.ndarray:
    """A square picture uint8[H, W, 3] in the size of the policy, by Lanczos' filter as in most training pipelines.

    Raises `UsageError` for one that is not square: whether to crop or to pad is for its owner to know.
    """
    height, width = picture.shape[:2]
    if height != width:
        raise UsageError(f"{where}: the picture has {width} x {height} pixels; policies here see square ones, so crop "
                         f"or pad it as in training, to {size} x {size} or larger")
    if height == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def checked_state(values: object, where: str) -> np.ndarray:
    """float32[8] of numbers. Raises `UsageError` if they are not those of a state."""
    try:
        state = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: state is {values!r}, not a list of numbers") from error
    if state.shape != (STATE_DIM,) or not np.isfinite(state).all():
        raise UsageError(f"{where}: state has shape {state.shape}; it must be {STATE_DIM} finite numbers: position 3 "
                         "(m), axis-angle 3 (rad), finger positions 2 (m)")
    return state
