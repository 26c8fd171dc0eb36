"""Small worlds made by hand: boxes on a table, for tests of motions without a simulator."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from policies.experts.scene import DOWN, Goal, Parts, Scene

TABLE_M = 0.9
"""Height of the table."""


def box(centre, half) -> Parts:
    """One upright box."""
    return Parts(np.array([centre], dtype=float), np.eye(3)[None], np.array([half], dtype=float))


def _world(hand=(-0.2, 0.0, 1.17), goals: tuple[Goal, ...] = (), opening_m: float = 0.08, rotation: np.ndarray = DOWN,
          things: Mapping[str, tuple] | None = None, regions: Mapping[str, tuple] | None = None,
          held: tuple[str, ...] = (), joints: Mapping[str, float] | None = None, elbow_rad: float = -2.0) -> Scene:
    """A scene of upright boxes: `things` is name -> (centre, half size), the origin in the middle of the bottom;
    `regions` is name -> (centre, half size)."""
    things, regions = things or {}, regions or {}
    origins = {name: np.array([c[0], c[1], c[2] - h[2]]) for name, (c, h) in things.items()}
    places = {**origins, **{name: np.array(c, dtype=float) for name, (c, _) in regions.items()}}
    return Scene(
        np.array([-0.66, 0.0, 0.912]), np.array(hand, dtype=float), rotation, opening_m, elbow_rad, places,
        {name: np.eye(3) for name in places}, {name: np.array(h, dtype=float) for name, (_, h) in regions.items()},
        {name: box(c, h) for name, (c, h) in things.items()}, joints or {}, {name: name in held for name in things},
        goals,
    )


@pytest.fixture
def world():
    """Makes a scene; see `_world`."""
    return _world
