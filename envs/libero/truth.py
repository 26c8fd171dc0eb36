"""Simulator truth as named arrays: what a scripted expert reads instead of pictures.

Names are those of the problem file: instances (`akita_black_bowl_1`), regions (`wooden_cabinet_1_top_region`) and
joints of furniture (`flat_stove_1_button`). The goal is read from the compiled conditions, so that truth and success
cannot disagree. `policies.experts.scene.Scene` is made of this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.libero.facts import Readings
from envs.libero.goal import Condition, InSite, JointsAt, OnObject, OnSite

_ROBOT = ("robot0_", "gripper0_", "mount0_")
"""How names begin that belong to the arm."""
_JOINT_PREDICATES = {("<", True): "open", (">", False): "close", (">=", True): "turnon", ("<", False): "turnoff"}
"""Relation of a joint to its limit, whether one joint is enough -> LIBERO's predicate."""


TOUCH_M = 0.002
"""Distance from a pad at which an object counts as touched: contacts alone come and go while a thin wall is lifted."""


@dataclass(frozen=True)
class Names:
    """What has a name in one compiled model, by number. Made once for a scene."""

    instances: tuple[str, ...]
    """Objects, then fixtures."""
    objects: int
    """How many of the instances are objects."""
    bodies: np.ndarray
    """int[I]: root body of each instance."""
    geoms: np.ndarray
    """int[G]: collision geoms of all instances."""
    owners: np.ndarray
    """int[G]: number of the instance that a geom belongs to."""
    sites: tuple[str, ...]
    """Regions."""
    site_ids: np.ndarray
    """int[S]."""
    joints: tuple[str, ...]
    """Joints of furniture."""
    addresses: np.ndarray
    """int[J]: where they are in qpos."""
    base: int
    """Body that the arm stands on."""
    elbow: int
    """Where the arm's fourth joint is in qpos."""
    goals: np.ndarray
    """str[N, 4]: predicate, instance, target (region or instance, "" if none), joint ("" if none)."""


def names_of(scene: Readings) -> Names:
    """The names in a scene."""
    import mujoco

    model, facts = scene.model, scene.facts
    things = {**facts.objects, **facts.fixtures}
    sites = [(model.site(i).name, i) for i in range(model.nsite)]
    sites = [(name, i) for name, i in sites if name and not name.startswith(_ROBOT) and not name.endswith("_site")]
    hinges = [(model.joint(i).name, model.jnt_qposadr[i]) for i in range(model.njnt)
              if model.jnt_type[i] != mujoco.mjtJoint.mjJNT_FREE and not model.joint(i).name.startswith(_ROBOT)]
    geoms = [(geom, number) for number, thing in enumerate(things.values()) for geom in thing.geoms]
    by_body = {thing.body: name for name, thing in things.items()}
    by_address = {address: name for name, address in hinges}
    goals = [_goal(model, condition, by_body, by_address, tuple(things)) for condition in facts.goal]
    return Names(
        tuple(things), len(facts.objects), np.array([thing.body for thing in things.values()]),
        np.array([g for g, _ in geoms]), np.array([n for _, n in geoms]),
        tuple(n for n, _ in sites), np.array([i for _, i in sites], dtype=int),
        tuple(n for n, _ in hinges), np.array([a for _, a in hinges], dtype=int),
        model.body("robot0_base").id, int(model.joint("robot0_joint4").qposadr[0]), np.array(goals),
    )


def _goal(model, condition: Condition, by_body: dict[int, str], by_address: dict[int, str],
          instances: tuple[str, ...]) -> tuple[str, str, str, str]:
    if isinstance(condition, OnObject):
        return "on", by_body[condition.upper], by_body[condition.lower], ""
    if isinstance(condition, OnSite | InSite):
        predicate = "on" if isinstance(condition, OnSite) else "in"
        return predicate, by_body[condition.body], model.site(condition.site).name, ""
    assert isinstance(condition, JointsAt)
    joint = by_address[condition.addresses[0]]
    owner = max((name for name in instances if joint.startswith(name + "_")), key=len)
    level = joint.removeprefix(owner + "_").removesuffix("_level")
    target = f"{owner}_{level}_region" if joint.endswith("_level") else ""
    return _JOINT_PREDICATES[condition.relation, condition.any], owner, target, joint


def truth_of(scene: Readings, names: Names) -> dict[str, np.ndarray]:
    """Simulator truth now. Axis letters: I instances, O of them objects, G collision geoms, S regions, J joints, N
    goals. Lengths in metres, world frame.

    `base` [3] (foot of the arm), `hand` [3], `hand_rotation` [3, 3] (columns: its x; the way the fingers open; out of
    the palm), `opening` [1], `elbow` [1] (position of the arm's fourth joint, rad);
    `instances` str[I], `regions` str[S], `positions` [I + S, 3], `rotations` [I + S, 3, 3], `region_half` [S, 3];
    `part_owner` int[G], `part_centres` [G, 3], `part_rotations` [G, 3, 3], `part_halves` [G, 3]: the box of each geom;
    `grasped` bool[O] (both pads are within `TOUCH_M` of it); `joints` str[J], `joint_values` [J];
    `goals` str[N, 4] (see `Names`), `holds` bool[N].
    """
    model, data, facts = scene.model, scene.data, scene.facts
    hand = data.xmat[facts.hand_body].reshape(3, 3)
    rows = data.geom_xmat[names.geoms].reshape(-1, 3, 3)
    centre = data.geom_xpos[names.geoms] + (rows @ model.geom_aabb[names.geoms, :3, None])[..., 0]
    left, right = data.qpos[list(facts.fingers)]
    return {
        "base": data.xpos[names.base].copy(), "hand": data.site_xpos[facts.hand_site].copy(),
        "hand_rotation": hand.copy(), "opening": np.array([left - right]),
        "elbow": data.qpos[[names.elbow]],
        "instances": np.array(names.instances), "regions": np.array(names.sites),
        "positions": np.concatenate([data.xpos[names.bodies], data.site_xpos[names.site_ids]]),
        "rotations": np.concatenate([data.xmat[names.bodies], data.site_xmat[names.site_ids]]).reshape(-1, 3, 3),
        "region_half": model.site_size[names.site_ids].copy(),
        "part_owner": names.owners, "part_centres": centre, "part_rotations": rows,
        "part_halves": model.geom_aabb[names.geoms, 3:],
        "grasped": _grasped(model, data, facts, names, centre, rows),
        "joints": np.array(names.joints), "joint_values": data.qpos[names.addresses],
        "goals": names.goals, "holds": np.array([condition.holds(data) for condition in facts.goal]),
    }


def _grasped(model, data, facts, names: Names, centre: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """bool[O]: whether both pads are within `TOUCH_M` of an object."""
    import mujoco

    touched = []
    for pad in facts.pads:
        away = np.einsum("gi,gij->gj", data.geom_xpos[pad[0]] - centre, rows)
        reach = model.geom_rbound[pad[0]] + TOUCH_M
        near = np.flatnonzero((abs(away) <= model.geom_aabb[names.geoms, 3:] + reach).all(axis=1))
        touched.append({int(names.owners[g]) for g in near for part in pad
                        if mujoco.mj_geomDistance(model, data, part, int(names.geoms[g]), 1.0, None) <= TOUCH_M})
    return np.isin(np.arange(names.objects), list(touched[0] & touched[1]))
