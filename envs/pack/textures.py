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


def planks(size: int, rgb: tuple[int, int, int], boards: int, spread: float, seed: int) -> np.ndarray:
    """uint8[size, size, 3]: wood with grain along the columns; `boards` > 1 puts dark seams between boards."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0.0, spread, (1, size, 1)) + rng.normal(0.0, spread / 4, (size, size, 1))
    picture = np.broadcast_to(np.array(rgb, dtype=np.float64), (size, size, 3)) + grain
    if boards > 1:
        picture[:, :: size // boards] *= 0.8
    return np.clip(picture, 0, 255).astype(np.uint8)


TEXTURES = {
    "light-gray-floor-tile.png": lambda: tiles(64, (195, 186, 177), 1, 4.0, 1),
    "light-gray-plaster.png": lambda: tiles(64, (223, 219, 212), 0, 2.0, 2),
    "seamless_wood_planks_floor.png": lambda: planks(64, (233, 200, 137), 4, 6.0, 3),
    "gray_ceramic_tile.png": lambda: tiles(64, (186, 171, 155), 2, 5.0, 4),
    "yellow_linen_wall_texture.png": lambda: tiles(64, (220, 213, 180), 0, 3.0, 5),
    "pale_wood.png": lambda: planks(64, (198, 180, 162), 1, 4.0, 6),
}
"""File name (LIBERO's code asks for it) -> how it is drawn."""
