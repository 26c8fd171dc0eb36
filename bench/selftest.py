"""The checks that need a running world: `python -m bench.selftest SUITE ASSETS`, a process of its own.

A driver that crashes takes only this process with it, and what was loaded for the check is not in the memory that a
run measures. The last line on standard output is a JSON list of `{"name", "state", "detail", "mend"}`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib import import_module

from bench.checks import Check
from bench.golden import IMAGE_SIZE, differences, golden, scene_picture
from bench.protocol import PROTOCOLS
from bench.rollout import one_line, rollout
from bench.spec import EpisodeKey
from envs.registry import SUITES, find_task
from envs.types import Environment
from policies.registry import POLICIES

OTHER_RENDERER = "try the other renderer with MUJOCO_GL=osmesa or MUJOCO_GL=egl, or update the graphics driver"


def expert_of(suite: str) -> str | None:
    """The scripted policy that was made for `suite`, None if there is none: it reads no pictures."""
    return next((name for name, entry in POLICIES.items() if suite in entry.suites and entry.trained_on is not None
                 and entry.trained_on.cameras == ()), None)


def selftest(suite: str, assets: str) -> list[Check]:
    """The golden picture and one expert episode of task 0."""
    module, task = find_task(suite, 0)
    suite = task.suite
    expert = expert_of(suite)
    env = module.open_task(suite, task.index, IMAGE_SIZE, assets, expert is not None, SUITES[suite].stepping[0])
    try:
        return [_picture(env, suite, assets), _episode(env, suite, expert)]
    finally:
        env.close()


def _picture(env: Environment, suite: str, assets: str) -> Check:
    name, wanted = f"picture of {suite}", golden(suite, assets)
    if wanted is None:
        return Check(name, "absent", f"no golden picture of {assets} assets is in the package")
    found = differences(scene_picture(env).images, wanted)
    if not found:
        return Check(name, "ok", "equal to the golden picture within tolerance")
    return Check(name, "FAILED", "; ".join(found),
                 f"{OTHER_RENDERER}; if the asset pack was changed on purpose: python -m bench.golden")


def _episode(env: Environment, suite: str, expert: str | None) -> Check:
    name = f"episode of {suite}"
    if expert is None:
        return Check(name, "absent", "no scripted expert was made for this suite")
    module, _, attribute = POLICIES[expert].target.partition(":")
    policy = getattr(import_module(module), attribute)()
    record = rollout(env, policy, EpisodeKey("fp", suite, 0, 0, 0), PROTOCOLS["oft"])
    if record.outcome == "success":
        return Check(name, "ok", f"{expert} succeeded in {record.steps} steps, {record.wall_s:.1f} s")
    return Check(name, "FAILED", record.reason or f"{expert} failed in {record.steps} steps, and must succeed",
                 "the physics are not those of the package: install the versions of constraints.txt (make venv)")


if __name__ == "__main__":
    try:
        checks = selftest(sys.argv[1], sys.argv[2])
    except Exception as error:
        checks = [Check(f"scene of {sys.argv[1]}", "FAILED", one_line(error), OTHER_RENDERER)]
    print(json.dumps([asdict(check) for check in checks]))
