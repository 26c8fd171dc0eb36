"""Actions that move the hand freely above the table: every direction, every turn, fingers that open and half close.

Where nothing is touched two trajectories stay as near as rounding put them, so a comparison of controllers is sharp.
"""

from __future__ import annotations

import numpy as np

TRANSLATION, ROTATION = 0.45, 0.3
"""Greatest translation and rotation component of an action."""
PERIODS = (24.0, 60.0)
"""Least and greatest period of the waves that the motion is made of, in actions."""
RISE_STEPS, RISE = 20, 0.4
"""At first the hand only rises, at this speed."""
CYCLE, OPENING, CLOSING_FROM, CLOSING = 60, 20, 30, 3
"""The fingers open for some actions of a cycle, and close for a few later ones: not until the pads meet, where one
rounding error decides how they touch."""
STEADY = slice(100, 150)
"""Actions without a rotation, during which the controller keeps its goal orientation."""


def roaming(count: int, seed: int = 0) -> np.ndarray:
    """float64[count, 7]: two waves of random period and phase in every component."""
    rng = np.random.default_rng(seed)
    period, phase = rng.uniform(*PERIODS, (2, 1, 6)), rng.uniform(0.0, 2 * np.pi, (2, 1, 6))
    steps = np.arange(count)
    waves = np.sin(2 * np.pi * steps[:, None] / period + phase).mean(axis=0)
    moves = np.zeros((count, 7))
    moves[:, :6] = waves * np.repeat([TRANSLATION, ROTATION], 3)
    moves[:RISE_STEPS, :3] = 0.0, 0.0, RISE
    moves[STEADY, 3:6] = 0.0
    place = steps % CYCLE
    moves[place < OPENING, 6] = -1.0
    moves[(place >= CLOSING_FROM) & (place < CLOSING_FROM + CLOSING), 6] = 1.0
    return moves
