"""Every goal of the 130 tasks that is a joint lies within the limits of that joint in the built-in pack."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from envs.libero import suite as suites
from envs.pack.mjcf import object_xml
from envs.pack.table import OBJECTS

BEYOND = {
    ("cabinet", "open"): ("<", -0.14), ("cabinet", "close"): (">", 0.0), ("microwave", "open"): ("<", -1.3),
    ("microwave", "close"): (">", -0.005), ("stove", "turnon"): (">", 0.5), ("stove", "turnoff"): ("<", 0.0),
}
"""Kind of furniture and predicate -> where LIBERO says yes; `test_goal.py` asks LIBERO's own classes for them."""
SLACK = 0.004
"""How far beyond (m or rad) a joint must be able to go: at the threshold itself rounding would decide."""


def joint_goals() -> list[tuple[str, str, str, str]]:
    """(task, predicate, category, joint) of every line of a goal that is about furniture."""
    found = []
    for suite in suites.SUITES:
        for task in suites.tasks(suite):
            goal = suites.bddl_file(task).read_text().split("(:goal")[1]
            for predicate, argument in re.findall(r"\((open|close|turnon|turnoff) (\w+)\)", goal, flags=re.IGNORECASE):
                category, level = re.fullmatch(r"(\w+?)_\d+(?:_(\w+)_region)?", argument).groups()
                joint = f"{level}_level" if level else {"flat_stove": "button", "microwave": "microjoint"}[category]
                found.append((f"{suite}-{task.index}", predicate.lower(), category, joint))
    return found


def limits(category: str, joint: str) -> tuple[float, float]:
    """The range of a joint in the pack."""
    (element,) = [j for j in ET.fromstring(object_xml(category, OBJECTS[category])).iter("joint")
                  if j.get("name") == joint]
    return tuple(map(float, element.get("range").split()))


def test_the_goals_of_all_suites_have_been_found():
    count: dict[tuple[str, str], int] = {}
    for task, predicate, _, _ in joint_goals():
        suite = task.rsplit("-", 1)[0]
        count[suite, predicate] = count.get((suite, predicate), 0) + 1
    assert count == {
        ("libero_goal", "open"): 1, ("libero_goal", "turnon"): 1, ("libero_10", "turnon"): 2, ("libero_10", "close"): 2,
        ("libero_90", "close"): 9, ("libero_90", "open"): 6, ("libero_90", "turnon"): 5, ("libero_90", "turnoff"): 1}


def test_every_joint_can_go_beyond_what_its_goal_asks_for():
    for task, predicate, category, joint in joint_goals():
        low, high = limits(category, joint)
        relation, limit = next(v for (kind, p), v in BEYOND.items() if kind in category and p == predicate)
        reach = limit - low if relation == "<" else high - limit
        assert reach >= SLACK, f"{task}: {predicate} asks {joint} {relation} {limit}, limits {low} .. {high}"
