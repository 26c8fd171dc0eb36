"""What a table entry of the pack says about an object: bodies, joints, sites, parts.

Lengths are millimetres, except the three placement offsets, which LIBERO's code reads in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

from envs.pack.shapes import Part, Vec

Quat = tuple[float, float, float, float]
UPRIGHT: Quat = (1.0, 0.0, 0.0, 0.0)

HOPE, SCANNED, TURBOSQUID = "stable_hope_objects", "stable_scanned_objects", "turbosquid_objects"
ARTICULATED = "articulated_objects"
"""Folders of LIBERO's asset tree."""


@dataclass(frozen=True)
class Region:
    """A site that LIBERO's goals refer to."""

    name: str
    """Site name, e.g. "contain_region"."""
    centre_mm: Vec
    """Centre in the frame of the body that holds it."""
    half_mm: Vec
    """Half extents in the site's own axes; goals read them in this order."""
    quat: Quat = UPRIGHT
    """Rotation (w, x, y, z) of the site in its body; goals read the turned axes too."""
    kind: str = "box"
    """MuJoCo site type."""
    rgba: Quat = (0.0, 0.0, 0.0, 0.0)
    """Colour and opacity; LIBERO switches the opacity of a stove's burner."""


@dataclass(frozen=True)
class Contact:
    """How the collision geoms of an object meet others."""

    friction: str
    """Sliding, torsional and rolling friction."""
    solref: str
    """Time constant (s) and damping ratio of contacts."""
    solimp: str
    """Impedance of contacts."""
    extra: tuple[tuple[str, str], ...] = ()
    """Further MJCF attributes."""


HARD = Contact("0.95 0.3 0.1", "0.001 1", "0.998 0.998 0.001")
"""Contact settings of the official objects."""

SOFT = Contact("1 0.005 0.0001", "0.02 1", "0.8 0.9 0.01",
               (("contype", "0"), ("conaffinity", "1"), ("margin", "0.001")))
"""Those of the official microwave: it meets objects, palm and finger pads, never a table or its own door."""


@dataclass(frozen=True)
class Joint:
    """The hinge or slide of a moving body."""

    name: str
    """Joint name; the order of an object's joints is the layout of the init states."""
    kind: str
    """"hinge" or "slide"."""
    axis: Vec
    """Axis in the body's frame."""
    limits: tuple[float, float]
    """Least and greatest value, radians or metres."""
    damping: float
    """Damping, N m s/rad or N s/m."""


@dataclass(frozen=True)
class Inertia:
    """Mass properties of a body; given explicitly, so that the parts may differ from the official ones."""

    mass_kg: float
    """Mass."""
    com_mm: Vec
    """Centre of mass in the body's frame."""
    quat: Quat
    """Principal axes (w, x, y, z) in the body's frame."""
    principal: Vec
    """Principal moments, kg m^2."""


DRAWER_INERTIA = Inertia(3.0, (0.0, 0.0, 0.0), UPRIGHT, (1.0, 1.0, 1.0))
"""What the official drawers and knobs declare."""


@dataclass(frozen=True)
class Body:
    """A body below an object's root body."""

    name: str
    """Body name; free."""
    parts: tuple[Part, ...] = ()
    """Solids in this body's frame."""
    inertia: Inertia | None = None
    """Mass properties; None for a body without mass."""
    joint: Joint | None = None
    """How it moves against its parent; None if it is fixed."""
    regions: tuple[Region, ...] = ()
    """Sites for goals. A drawer's site stands in the drawer, because LIBERO asks its body for the joint."""
    bodies: tuple[Body, ...] = ()
    """Bodies that hang on this one."""
    centre_mm: Vec = (0.0, 0.0, 0.0)
    """Origin in the parent's frame."""
    quat: Quat = UPRIGHT
    """Rotation (w, x, y, z) in the parent's frame."""


@dataclass(frozen=True)
class ObjectSpec:
    """One object of the pack."""

    folder: str
    """Folder of the official tree that holds it."""
    up: str
    """The object axis that points up at rest: "y" or "z"."""
    mass_kg: float
    """Mass of the official root body; 0 if its child bodies carry all of it."""
    com_mm: Vec
    """Centre of mass in the object's own frame."""
    inertia_quat: Quat
    """Principal axes (w, x, y, z) in the object's own frame."""
    inertia: Vec
    """Principal moments, kg m^2."""
    bottom_m: float
    """z of `bottom_site`, metres: what LIBERO's placement subtracts."""
    top_m: float
    """z of `top_site`, metres."""
    radius_m: float
    """x of `horizontal_radius_site`, metres."""
    parts: tuple[Part, ...]
    """The solid, in the upright frame."""
    regions: tuple[Region, ...] = ()
    """Sites for goals."""
    bodies: tuple[Body, ...] = ()
    """Bodies that hang on the root body."""
    contact: Contact = HARD
    """How it meets others."""


NO_MASS = (0.0, (0.0, 0.0, 0.0), UPRIGHT, (0.0, 0.0, 0.0))
"""Mass, centre, axes and moments of a root body whose children carry everything."""

OBJECT_OFFSETS_M = (-0.06, 0.04, 0.025)
"""Bottom, top and radius offsets that almost all official objects declare."""
