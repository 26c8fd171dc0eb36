"""LIBERO's goal predicates, evaluated from MuJoCo's data alone.

A goal is a conjunction of the conditions below. Each repeats LIBERO's own test to the letter, including what looks odd:
only the origin of an object counts, the matrix of a site is applied without being transposed, and a drawer at rest is
not closed. Sources: hf-libero 0.1.4, `envs/object_states/base_object_states.py`, `envs/objects/site_object.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

ON_OBJECT_M = 0.03
"""Horizontal distance of two origins below which one object is on the other."""
ON_SITE_BELOW_M, ON_SITE_ABOVE_M = 0.005, 0.10
"""How far below and above the top of a region's box the origin of an object on it may be."""
IN_SITE_BELOW_M = 0.01
"""How far below a region's box the origin of an object in it may be."""


def touching(data, first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether a geom of `first` is in contact with a geom of `second`."""
    pairs = data.contact.geom
    in_first, in_second = np.isin(pairs, first), np.isin(pairs, second)
    return bool((in_first & in_second[:, ::-1]).any())


@dataclass(frozen=True)
class OnObject:
    """An object lies on another object."""

    upper: int
    """Body of the object."""
    upper_geoms: tuple[int, ...]
    """Its collision geoms."""
    lower: int
    """Body of what is below."""
    lower_geoms: tuple[int, ...]
    """Its collision geoms."""

    def holds(self, data) -> bool:
        """Whether it is so now."""
        upper, lower = data.xpos[self.upper], data.xpos[self.lower]
        near = lower[2] <= upper[2] and np.linalg.norm(lower[:2] - upper[:2]) < ON_OBJECT_M
        return bool(near) and touching(data, self.lower_geoms, self.upper_geoms)


@dataclass(frozen=True)
class OnSite:
    """An object lies on a region of a fixture, of an object or of the table."""

    body: int
    """Body of the object."""
    site: int
    """Site of the region."""
    half: tuple[float, float, float]
    """Half size of the region's box, m."""
    body_geoms: tuple[int, ...]
    """Collision geoms of the object."""
    parent_geoms: tuple[int, ...] | None
    """Collision geoms of what the region belongs to, which the object must touch; None for the table."""

    def holds(self, data) -> bool:
        """Whether it is so now."""
        x, y, z = data.site_xmat[self.site].reshape(3, 3) @ (data.xpos[self.body] - data.site_xpos[self.site])
        inside = abs(x) < self.half[0] and abs(y) < self.half[1]
        if not (inside and self.half[2] - ON_SITE_BELOW_M < z < self.half[2] + ON_SITE_ABOVE_M):
            return False
        return self.parent_geoms is None or touching(data, self.parent_geoms, self.body_geoms)


@dataclass(frozen=True)
class InSite:
    """The origin of an object is inside a region."""

    body: int
    """Body of the object."""
    site: int
    """Site of the region."""
    half: tuple[float, float, float]
    """Half size of the region's box, m."""

    def holds(self, data) -> bool:
        """Whether it is so now."""
        half = np.abs(data.site_xmat[self.site].reshape(3, 3) @ np.array(self.half))
        centre, origin = data.site_xpos[self.site], data.xpos[self.body]
        low = centre - half
        low[2] -= IN_SITE_BELOW_M
        return bool((origin > low).all() and (origin < centre + half).all())


@dataclass(frozen=True)
class JointsAt:
    """Joints are beyond a limit: a drawer or a door is open or closed, a knob is turned."""

    addresses: tuple[int, ...]
    """Where the joints are in qpos."""
    relation: str
    """"<", ">" or ">="."""
    limit: float
    """rad or m."""
    any: bool
    """One joint is enough; otherwise all must be there."""

    def holds(self, data) -> bool:
        """Whether it is so now."""
        values = data.qpos[list(self.addresses)]
        beyond = {"<": np.less, ">": np.greater, ">=": np.greater_equal}[self.relation](values, self.limit)
        return bool(beyond.any() if self.any else beyond.all())


Condition = OnObject | OnSite | InSite | JointsAt
CONDITIONS = {kind.__name__: kind for kind in (OnObject, OnSite, InSite, JointsAt)}


def to_json(condition: Condition) -> dict:
    """Plain data."""
    return {"kind": type(condition).__name__, **asdict(condition)}


def from_json(plain: dict) -> Condition:
    """The inverse of `to_json`."""
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items() if name != "kind"}
    return CONDITIONS[plain["kind"]](**values)
