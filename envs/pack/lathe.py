"""The triangles of a surface of revolution, as the text of an MJCF mesh."""

from __future__ import annotations

import numpy as np

from envs.pack.shapes import Outline


def revolve(outline: Outline, facets: int) -> tuple[np.ndarray, np.ndarray]:
    """float64[V, 3] vertices and int[F, 3] outward triangles of `outline`, revolved about z with `facets` sides.

    A point on the axis becomes one vertex, so that no triangle has two equal corners.
    """
    angles = 2 * np.pi * np.arange(facets) / facets
    rings: list[np.ndarray] = []
    vertices: list[tuple[float, float, float]] = []
    for radius, height in outline:
        count = 1 if radius == 0 else facets
        rings.append(np.resize(np.arange(len(vertices), len(vertices) + count), facets))
        vertices += [(radius * np.cos(a), radius * np.sin(a), height) for a in angles[:count]]
    faces = []
    for lower, upper in zip(rings, rings[1:] + rings[:1], strict=True):
        for a, b, c, d in zip(lower, np.roll(lower, -1), np.roll(upper, -1), upper, strict=True):
            faces += [face for face in ((a, b, c), (a, c, d)) if len(set(face)) == 3]
    return np.array(vertices), np.array(faces)
