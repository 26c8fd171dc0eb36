"""What becomes of a camera picture before OpenVLA sees it, step by step as in the published evaluation.

The picture is mirrored (see `policies.conventions`), goes through JPEG as the training data did, is reduced to 224
pixels with a Lanczos kernel, loses the border of a centred crop of 0.9 of the area, and is normalized for each tower.
The published code does this with TensorFlow; the arithmetic of each step is written out here and gives its numbers,
but for the decoding of JPEG: the file is the same in every byte, and TensorFlow's decoder takes a short cut (the fast
integer DCT) that moves pixels by about a level of 255. Axis letters: S pixels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

CROP_AREA = 0.9
"""Share of the area that the centred crop keeps."""
JPEG_QUALITY = 95
"""TensorFlow's default, with the colours at half the resolution."""
LANCZOS_RADIUS = 3
"""Of the kernel, in output pixels when a picture is reduced."""


@dataclass(frozen=True)
class Normalization:
    """How pixel values become the input of both towers."""

    size: int
    """Side of the picture that the towers take."""
    mean: tuple[tuple[float, ...], ...]
    """Mean of red, green and blue in [0, 1], one triple per tower."""
    std: tuple[tuple[float, ...], ...]
    """Their spread."""

    @classmethod
    def of(cls, preprocessor: dict[str, Any]) -> Normalization:
        """From a checkpoint's `preprocessor_config.json`. Raises ValueError for other preprocessing than known here."""
        try:
            strategy, sizes = preprocessor["image_resize_strategy"], preprocessor["input_sizes"]
            made = cls(sizes[0][-1], *(tuple(map(tuple, preprocessor[name])) for name in ("means", "stds")))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"preprocessor_config.json has no usable {error}") from error
        if strategy != "resize-naive" or any(size != [3, made.size, made.size] for size in sizes):
            raise ValueError(f"preprocessor_config.json asks for {strategy!r} to {sizes}; known is 'resize-naive' to "
                             "one square size for both towers")
        if any(len(triples) != 2 or any(len(t) != 3 for t in triples) for triples in (made.mean, made.std)):
            raise ValueError("preprocessor_config.json must have means and stds of three colours for two towers")
        return made


def pixels(picture: np.ndarray, normalization: Normalization) -> torch.Tensor:
    """uint8[S', S', 3], upright and not mirrored, to float32[6, S, S]."""
    small = reduced(through_jpeg(picture[:, ::-1]), normalization.size)
    shown = torch.from_numpy(cropped(small)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(values)[:, :, None, None] for values in (normalization.mean, normalization.std))
    return ((shown - mean) / std).flatten(0, 1)


def through_jpeg(picture: np.ndarray) -> np.ndarray:
    """uint8[S, S, 3] as it comes back from a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def reduced(picture: np.ndarray, size: int) -> np.ndarray:
    """uint8[S', S', 3] to uint8[size, size, 3]; a picture of that size stays as it is."""
    if picture.shape[:2] == (size, size):
        return picture
    rows, columns = (_lanczos(length, size) for length in picture.shape[:2])
    small = np.einsum("ij,jkc,lk->ilc", rows, picture.astype(np.float32), columns, optimize=True)
    return np.clip(np.round(small), 0, 255).astype(np.uint8)


@lru_cache
def _lanczos(length: int, size: int) -> np.ndarray:
    """float32[size, length], the weights of the old pixels in each new one."""
    step = length / size
    stretch = max(step, 1.0)
    centres = (np.arange(size) + 0.5) * step
    x = (np.arange(length) + 0.5 - centres[:, None]) / stretch
    weights = np.where(np.abs(x) < LANCZOS_RADIUS, np.sinc(x) * np.sinc(x / LANCZOS_RADIUS), 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def cropped(picture: np.ndarray) -> np.ndarray:
    """uint8[S, S, 3], its centre at the same size, interpolated linearly between the corners of the crop."""
    size = len(picture)
    side = np.sqrt(np.float32(CROP_AREA))
    places = (1 - side) / 2 * (size - 1) + np.arange(size, dtype=np.float32) * side
    low = np.floor(places).astype(int)
    share = (places - low)[:, None].astype(np.float32)
    values = picture.astype(np.float32) / 255
    rows = values[low] * (1 - share[..., None]) + values[low + 1] * share[..., None]
    both = rows[:, low] * (1 - share) + rows[:, low + 1] * share
    # Half a level is added and the rest cut off, with the scale that TensorFlow uses for it.
    return np.clip(both * 255.5, 0, 255).astype(np.uint8)
