"""From LIBERO's problem object to the facts of its scene: names become numbers, predicates become conditions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.libero.facts import Light, SceneFacts, Thing
from envs.libero.goal import Condition, InSite, JointsAt, OnObject, OnSite
from envs.libero.osc import ARM, TORQUE_LIMIT, ControllerState
from envs.types import AssetsError

FAR = 100.0
"""A joint position (rad or m) beyond every limit: asking there tells on which side a fixture is open."""


def facts_of(problem) -> SceneFacts:
    """The facts of a LIBERO problem that has been reset at least once."""
    robot, model = problem.robots[0], problem.sim.model
    objects = {name: _thing(problem, name) for name in problem.objects_dict}
    fixtures = {name: _thing(problem, name) for name in problem.fixtures_dict}
    pads = (robot.gripper.important_geoms[f"{side}_fingerpad"] for side in ("left", "right"))
    return SceneFacts(
        objects, fixtures, tuple(problem.obj_of_interest),
        tuple(_condition(problem, *state) for state in problem.parsed_problem["goal_state"]), _lights(problem),
        int(robot.eef_site_id), model.body_name2id(robot.robot_model.eef_name),
        tuple(int(i) for i in robot._ref_gripper_joint_pos_indexes),
        tuple(tuple(model.geom_name2id(geom) for geom in pad) for pad in pads),
    )


def controller_of(problem) -> ControllerState:
    """What the controller of a problem remembers right after a reset. Raises `AssetsError` for another robot."""
    robot, controller = problem.robots[0], problem.robots[0].controller
    first = np.arange(ARM)
    layout = (robot._ref_joint_pos_indexes, robot._ref_joint_vel_indexes, robot._ref_joint_actuator_indexes)
    same = all(np.array_equal(indices, first) for indices in layout)
    if not same or not np.array_equal(robot.torque_limits[1], TORQUE_LIMIT) or controller.name != "OSC_POSE":
        raise AssetsError("the compiled controller knows one robot: a Panda whose arm joints and motors come first")
    return ControllerState(
        controller.ee_pos.copy(), controller.ee_ori_mat.copy(), np.stack([controller.joint_pos, controller.joint_vel]),
        controller.J_full.copy(), controller.mass_matrix.copy(), controller.goal_pos.copy(), controller.goal_ori.copy(),
        controller.initial_joint.copy(), np.zeros(2), controller.new_update,
    )


def _thing(problem, instance: str) -> Thing:
    geoms = problem.get_object(instance).contact_geoms
    return Thing(problem.obj_body_id[instance], tuple(problem.sim.model.geom_name2id(geom) for geom in geoms))


def _condition(problem, predicate: str, *names: str) -> Condition:
    """One line of the goal. Raises `AssetsError` for a predicate that no LIBERO goal uses."""
    if predicate == "on" and names[1] in problem.object_sites_dict:
        upper, parent = _thing(problem, names[0]), problem.object_sites_dict[names[1]].parent_name
        geoms = _thing(problem, parent).geoms if problem.get_object(parent) is not None else None
        return OnSite(upper.body, *_region(problem, names[1]), upper.geoms, geoms)
    if predicate == "on":
        upper, lower = (_thing(problem, name) for name in names)
        return OnObject(upper.body, upper.geoms, lower.body, lower.geoms)
    if predicate == "in" and names[1] in problem.object_sites_dict:
        return InSite(_thing(problem, names[0]).body, *_region(problem, names[1]))
    if predicate in _LIMITS:
        return _joints(problem, predicate, names[0])
    raise AssetsError(f"goal ({predicate} {' '.join(names)}): legal are on, in (a region), {', '.join(_LIMITS)}")


def _region(problem, name: str) -> tuple[int, tuple[float, float, float]]:
    size = np.asarray(problem.object_sites_dict[name].size, dtype=np.float64)
    return problem.sim.model.site_name2id(name), tuple(size.tolist())


_LIMITS: dict[str, tuple[str, str, bool]] = {
    "open": ("is_open", "default_open_ranges", True), "close": ("is_close", "default_close_ranges", False),
    "turnon": ("turn_on", "default_turnon_ranges", True), "turnoff": ("turn_off", "default_turnoff_ranges", False),
}
"""Predicate -> method of LIBERO's fixture class, its range of joint positions, whether one joint is enough."""


def _joints(problem, predicate: str, name: str) -> JointsAt:
    method, key, any_joint = _LIMITS[predicate]
    region = problem.object_sites_dict.get(name)
    owner = problem.get_object(name if region is None else region.parent_name)
    joints = owner.joints if region is None else region.joints
    relation, limit = _limit(getattr(owner, method), owner.object_properties["articulation"][key])
    return JointsAt(tuple(int(problem.sim.model.get_joint_qpos_addr(j)) for j in joints), relation, limit, any_joint)


def _limit(test: Callable[[float], bool], allowed: list[float]) -> tuple[str, float]:
    """On which side of which end of its range a fixture says yes; found by asking it."""
    above = test(FAR)
    limit = float(min(allowed) if above else max(allowed))
    if not above:
        relation = "<"
    else:
        relation = ">=" if test(limit) else ">"
    nearly = (np.nextafter(limit, FAR), np.nextafter(limit, -FAR))
    if test(nearly[0]) is not above or test(nearly[1]) is above or (not above and test(limit)):
        raise AssetsError(f"{test} does not turn at {limit}")
    return relation, limit


def _lights(problem) -> tuple[Light, ...]:
    lights = []
    for name in problem.visualization_sites_list:
        if not hasattr(problem.get_object(name), "turn_on"):
            continue
        sites = problem.get_object(name).object_properties["vis_site_names"].values()
        lights += [Light(problem.sim.model.site_name2id(site), _joints(problem, "turnon", name)) for site, _ in sites]
    return tuple(lights)
