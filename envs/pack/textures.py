"""Small procedural pictures for floors and walls, drawn from a fixed seed."""

from __future__ import annotations

import numpy as np


def tiles(size: int, rgb: tuple[int, int, int], seam: int, spread: float, seed: int) -> np.ndarray:
    """uint8[size, size, 3]: a plain colour with grain, and a darker seam around the border if `seam` > 0 pixels."""
    rng = np.random.default_rng(seed)
    picture = np.array(rgb, dtype=np.float64) + rng.normal(0.0, spread, (size, size, 1))
    if seam:
        picture[:seam] *= 0.82
        picture[:, :seam] *= 0.82
    return np.clip(picture, 0, 255).astype(np.uint8)


TEXTURES = {
    "light-gray-floor-tile.png": lambda: tiles(64, (195, 186, 177), 1, 4.0, 1),
    "light-gray-plaster.png": lambda: tiles(64, (223, 219, 212), 0, 2.0, 2),
}
"""File name (LIBERO's code asks for it) -> how it is drawn."""
