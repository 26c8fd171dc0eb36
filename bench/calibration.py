"""Record what methods calibrate on for policies that bring nothing: `python -m bench.calibration --suite libero_10`.

A scripted expert plays drawn placements, never an official init state, and observations are kept from ever later in
its episodes, so that every phase of a task is among them. The file has `images` uint8[N, C, S, S, 3] with their
`cameras`, `states` float32[N, 8], `instructions` and `episodes`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench.command import legal_assets, legal_stepping, parse_tasks
from bench.errors import BenchError, UsageError
from bench.policies import policy_entry
from bench.pool import open_task, suite_module
from bench.protocol import PROTOCOLS
from bench.selftest import expert_of
from envs.registry import suite_name
from envs.types import Environment, EnvironmentError_, Observation
from policies.base import Policy
from policies.registry import make_policy

CAMERAS = ("agentview", "wrist")
"""Order of the pictures in the file."""
EVERY = 8
"""Control steps between two observations that may be kept."""
SEED = 90_000
"""First seed of the drawn placements; no run derives such a small one from an episode's key but by chance."""


def record(suite: str, tasks: Sequence[int], episodes: int, kept: int, size: int, assets: str, stepping: str,
           shown: bool) -> dict[str, np.ndarray]:
    """Arrays of the file: `kept` observations of each of `episodes` episodes per task.

    Raises `UsageError` if no scripted expert was made for the suite.
    """
    name = expert_of(suite)
    if name is None:
        raise UsageError(f"no scripted expert was made for suite {suite!r}, so nothing can be recorded")
    expert = make_policy(policy_entry(name))
    found: list[Observation] = []
    names: list[str] = []
    for task in tqdm(tasks, unit="task", disable=not shown):
        env = open_task(suite, assets, stepping, task, size, True)
        try:
            for number in range(episodes):
                chosen = _spread(list(_episode(env, expert, SEED + number, PROTOCOLS["oft"].cap(suite))), kept)
                found += chosen
                names += [f"{suite}-{task}/drawn-{SEED + number}"] * len(chosen)
        finally:
            env.close()
    images = np.stack([np.stack([o.images[camera] for camera in CAMERAS]) for o in found])
    return {"images": images, "cameras": np.array(CAMERAS), "states": np.stack([o.state for o in found]),
            "instructions": np.array([o.instruction for o in found]), "episodes": np.array(names)}


def _episode(env: Environment, expert: Policy, seed: int, cap: int) -> Iterator[Observation]:
    """What the expert sees every `EVERY` steps until it is done."""
    expert.reset((seed,))
    observation = env.reset(None, seed, observe=False)
    hold = np.array(env.action_spec.hold)
    for step in range(PROTOCOLS["oft"].settle_steps):
        observation = env.step(hold, observe=step == PROTOCOLS["oft"].settle_steps - 1).observation
    step, plan = 0, np.empty((0, env.action_spec.dim))
    while True:
        if step % EVERY == 0:
            yield observation
        if not len(plan):
            plan = expert.act([observation])[0]
        result = env.step(plan[0])
        plan, observation, step = plan[1:], result.observation, step + 1
        if result.success or result.truncated or step == cap:
            return


def _spread(observations: list[Observation], kept: int) -> list[Observation]:
    """At most `kept` of them, evenly over the episode."""
    places = np.linspace(0, len(observations) - 1, min(kept, len(observations)))
    return [observations[index] for index in np.unique(places.round().astype(int))]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--tasks", help="indices such as 0,2,5-7 (default: all)")
    parser.add_argument("--episodes", type=int, default=1, help="per task (default: %(default)s)")
    parser.add_argument("--kept", type=int, default=4, help="observations per episode (default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures, pixels (default: %(default)s)")
    parser.add_argument("--assets", help="asset pack (default: the suite's first)")
    parser.add_argument("--out", type=Path, help="new file (default: calibration/SUITE.npz)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args(argv)
    try:
        assets, stepping = legal_assets(args.suite, args.assets), legal_stepping(args.suite, None)
        suite = suite_name(args.suite)
        out = args.out or Path("calibration", f"{suite}.npz")
        if min(args.episodes, args.kept, args.size) < 1:
            raise UsageError(f"episodes {args.episodes}, kept {args.kept} and size {args.size} must be 1 or more")
        if out.exists():
            raise UsageError(f"{out} is there already; name another file with --out, or remove it")
        tasks = parse_tasks(args.tasks, len(suite_module(suite).tasks(suite)))
        arrays = record(suite, tasks, args.episodes, args.kept, args.size, assets, stepping, not args.quiet)
    except (BenchError, EnvironmentError_) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}")
    with open(draft, "wb") as file:
        np.savez_compressed(file, **arrays)
    draft.rename(out)
    print(f"wrote {out}: {len(arrays['states'])} observations of {len(tasks)} tasks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
