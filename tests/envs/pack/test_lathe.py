"""Surfaces of revolution are closed and face outwards."""

from __future__ import annotations

import numpy as np
import pytest

from envs.pack.lathe import revolve
from envs.pack.table import OBJECTS

LATHES = {
    f"{name}-{k}": part for name, spec in OBJECTS.items()
    for k, part in enumerate(part for body in (spec, *spec.bodies, *(b for x in spec.bodies for b in x.bodies))
                             for part in body.parts) if part.kind == "lathe"
}


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Signed volume that the triangles enclose."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def test_a_revolved_rectangle_is_a_cylinder():
    vertices, faces = revolve(((0.0, 0.0), (2.0, 0.0), (2.0, 3.0), (0.0, 3.0)), 96)
    assert volume(vertices, faces) == pytest.approx(np.pi * 4 * 3, rel=1e-3)


@pytest.mark.parametrize("part", LATHES.values(), ids=LATHES)
def test_every_surface_in_the_pack_is_closed_and_faces_outwards(part):
    vertices, faces = revolve(part.outline, part.facets)
    edges = [tuple(edge) for face in faces for edge in zip(face, np.roll(face, -1), strict=True)]
    assert len(set(edges)) == len(edges) and {(b, a) for a, b in edges} == set(edges)
    assert volume(vertices, faces) > 0
