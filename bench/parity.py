"""Whether both ways to compute the physics play the stock environment's episodes: `python -m bench.parity`.

For two and more tasks of each main suite, the same init state, the same fixture seed and the same actions go through a
fresh stock environment (LIBERO's own class, built, reset and stepped as its evaluators do, in a process of its own),
and through our scenes: once the hand moves freely, once it pushes furniture or grasps. Compared are positions and
velocities after every action, success at every action, and both pictures at every decision. "exact" must be equal in
every bit. "fast" must stay within `TOLERANCE`; where something is touched it may leave it only if nudges the size of a
rounding error part the stock trajectory from itself as early. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.push import Push, joint_number, pushing
from bench.roam import roaming
from envs.libero.env import CAMERAS, LiberoEnv, assets_folder, open_scene, tasks
from envs.libero.suite import init_states
from envs.types import TaskSpec

ACTIONS, CHUNK, PIXELS = 300, 8, 64
"""Actions of a comparison, actions between two decisions, side of the pictures."""
TOLERANCE = 1e-9
"""Greatest difference of a position (m, rad) or velocity that counts as rounding."""
INIT_STATE, SEED = 4, 3
"""Which official init state, and the seed of the reset, which places the furniture."""
NUDGES = ((0, 1e-15), (0, -1e-15), (3, 1e-15), (5, -1e-15))
"""Joint of the arm, and what it is moved by (rad) to see how far rounding errors grow; the earliest parting counts."""

KNOB = Push("button", 1, (0.0, 45.0, 38.0), 0.09)
"""Turns a stove on."""


def drawer(level: str, height_mm: float) -> Push:
    """Closes a drawer of a cabinet, its handle at that height."""
    return Push(f"{level}_level", 1, (-2.5, -101.0, height_mm), 0.2)


MOTIONS = ("free", "contact")
"""What the actions of a comparison do."""

MOVES: dict[tuple[str, int], Push | str] = {
    ("libero_spatial", 0): KNOB,
    ("libero_spatial", 4): drawer("top", 184.0),
    ("libero_object", 0): "expert",
    ("libero_object", 7): "expert",
    ("libero_goal", 0): KNOB,
    ("libero_goal", 7): KNOB,
    ("libero_10", 2): KNOB,
    ("libero_10", 3): drawer("bottom", 46.0),
    ("libero_10", 9): Push("microjoint", 1, (237.5, -54.0, 0.0), 0.5),
}
"""Suite and task -> what the actions do where something is touched: push furniture, or the scripted expert's episode.
"""


@dataclass(frozen=True)
class Played:
    """What one loop gave."""

    physics: np.ndarray
    """float64[steps, nq + nv] after every action."""
    success: np.ndarray
    """bool[steps]."""
    images: np.ndarray
    """uint8[decisions, 2, PIXELS, PIXELS, 3], upright; the first before the first action."""


@dataclass(frozen=True)
class Parity:
    """One task in the stock environment and in ours."""

    task: str
    """SUITE-INDEX."""
    motion: str
    """"free" or "contact"."""
    moved: float | None
    """How far the pushed joint went (m or rad); None if nothing was to be pushed."""
    success_step: int | None
    """First action after which the goal held in the stock environment."""
    exact_equal: bool
    """Whether "exact" gave the stock environment's positions and velocities in every bit."""
    fast_difference: float
    """Greatest difference of "fast" from the stock environment."""
    fast_within: int
    """Actions before the first difference beyond `TOLERANCE`; all of them if there is none."""
    nudged_within: int | None
    """The same for the stock physics against itself, by the worst of `NUDGES`; None if it was not needed."""
    success_equal: bool
    """Whether the goal held after the same actions everywhere."""
    images_equal: bool
    """Whether "exact" gave the stock environment's pixels at every decision, and "fast" as long as it was within
    `TOLERANCE`."""

    @property
    def passed(self) -> bool:
        """Whether nothing sets ours apart but rounding that parts the stock environment from itself."""
        steady = self.fast_difference <= TOLERANCE or (
            self.motion == "contact" and self.nudged_within is not None and self.nudged_within <= 2 * self.fast_within)
        return self.exact_equal and self.success_equal and self.images_equal and steady


def stock_play(task: TaskSpec, assets: Path, lean: bool, moves: np.ndarray) -> Played:
    """The actions in a fresh stock environment, in a process of its own: robosuite's renderer wants to be alone."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_stock_play, task, assets, lean, moves).result()


def _stock_play(task: TaskSpec, assets: Path, lean: bool, moves: np.ndarray) -> Played:
    from envs.libero.process import prepare
    from envs.libero.scene import _problem

    prepare(assets)
    np.random.seed(0)
    problem = _problem(task, assets, lean, PIXELS)
    np.random.seed(SEED)
    problem.reset()
    # What LIBERO's `set_init_state` does.
    problem.sim.set_state_from_flattened(init_states(task)[INIT_STATE])
    problem.sim.forward()
    problem._check_success()
    problem._post_process()
    problem._update_observables(force=True)
    observation, data = problem._get_observations(), problem.sim.data._data
    rows, success, images = [], [], [_stock_images(observation)]
    for index, action in enumerate(moves, start=1):
        observation, _, done, _ = problem.step(action)
        rows.append(np.concatenate([data.qpos, data.qvel]))
        success.append(bool(done))
        if index % CHUNK == 0:
            images.append(_stock_images(observation))
    problem.close()
    return Played(np.array(rows), np.array(success), np.array(images))


def _stock_images(observation) -> np.ndarray:
    return np.stack([observation[f"{camera}_image"][::-1] for camera in CAMERAS.values()])


def own_play(scene, moves: np.ndarray) -> Played:
    """The actions in one of our scenes."""
    env = LiberoEnv(scene, PIXELS, privileged=False)
    first = env.reset(INIT_STATE, SEED)
    rows, success, images = [], [], [np.stack(list(first.images.values()))]
    for index, action in enumerate(moves, start=1):
        result = env.step(action, observe=index % CHUNK == 0)
        rows.append(np.concatenate([scene.data.qpos, scene.data.qvel]))
        success.append(result.success)
        if result.observation is not None:
            images.append(np.stack(list(result.observation.images.values())))
    return Played(np.array(rows), np.array(success), np.array(images))


def nudged_within(scene, moves: np.ndarray, physics: np.ndarray) -> int:
    """Actions until the first of `NUDGES` parts the trajectory of `scene` from `physics`, its own without a nudge."""
    return min(_within(np.abs(_nudged(scene, moves, *nudge) - physics).max(axis=1)) for nudge in NUDGES)


def _nudged(scene, moves: np.ndarray, joint: int, nudge: float) -> np.ndarray:
    scene.place(INIT_STATE, SEED)
    scene.data.qpos[joint] += nudge
    rows = []
    for action in moves:
        scene.advance(action)
        rows.append(np.concatenate([scene.data.qpos, scene.data.qvel]))
    return np.array(rows)


def actions(scene, what: Push | str, count: int) -> np.ndarray:
    """float64[count, 7]: a push, or what the expert does (and goes on to do after its success), or free motion."""
    if what == "free":
        return roaming(count)
    if isinstance(what, Push):
        scene.place(INIT_STATE, SEED)
        return pushing(scene, what, count)
    from policies.experts.expert import expert_action

    env = LiberoEnv(scene, 0, privileged=True)
    observation, moves = env.reset(INIT_STATE, SEED), []
    for _ in range(count):
        moves.append(expert_action(observation).astype(np.float64))
        observation = env.step(moves[-1]).observation
    return np.array(moves)


def travel(scene, what: Push | str, physics: np.ndarray) -> float | None:
    """How far (m or rad) the pushed joint went to and fro."""
    if not isinstance(what, Push):
        return None
    return float(np.ptp(physics[:, scene.model.jnt_qposadr[joint_number(scene.model, what.joint)]]))


def compare(suite: str, index: int, count: int = ACTIONS, motion: str = "contact", assets: str = "builtin") -> Parity:
    """One task in all three; `count` actions of the "contact" or the "free" motion."""
    task, folder, lean = tasks(suite)[index], assets_folder(assets), assets == "builtin"
    what = MOVES[suite, index] if motion == "contact" else motion
    fast, exact = (open_scene(task, folder, lean, stepping) for stepping in ("fast", "exact"))
    moves = actions(fast, what, count)
    stock = stock_play(task, folder, lean, moves)
    ours = {"fast": own_play(fast, moves), "exact": own_play(exact, moves)}
    difference = np.abs(ours["fast"].physics - stock.physics).max(axis=1)
    nudged, alike = None, 1 + _within(difference) // CHUNK
    if difference.max() > TOLERANCE:
        nudged = nudged_within(exact, moves, stock.physics)
    for scene in (fast, exact):
        scene.close()
    alike_images = (ours["exact"].images == stock.images).all() and (
        ours["fast"].images[:alike] == stock.images[:alike]).all()
    return Parity(
        f"{suite}-{index}", motion, travel(fast, what, stock.physics),
        int(stock.success.argmax()) + 1 if stock.success.any() else None,
        bool((ours["exact"].physics == stock.physics).all()), float(difference.max()), _within(difference), nudged,
        all(np.array_equal(o.success, stock.success) for o in ours.values()),
        bool(alike_images))


def _within(difference: np.ndarray) -> int:
    beyond = difference > TOLERANCE
    return int(beyond.argmax()) if beyond.any() else len(beyond)


def summary(found: list[Parity], count: int) -> dict[str, float]:
    """Counts of what was equal; "free" and "contact" apart where they are held to different standards."""
    result: dict[str, float] = {
        "comparisons": len(found), "actions": count, "passed": sum(p.passed for p in found),
        "exact_bit_identical": sum(p.exact_equal for p in found), "success_equal": sum(p.success_equal for p in found),
        "images_equal": sum(p.images_equal for p in found), "tolerance": TOLERANCE,
    }
    for motion in MOTIONS:
        rows = [p for p in found if p.motion == motion]
        result[f"{motion}_comparisons"] = len(rows)
        result[f"{motion}_fast_within_tolerance"] = sum(p.fast_difference <= TOLERANCE for p in rows)
        result[f"{motion}_fast_greatest_difference"] = max((p.fast_difference for p in rows), default=0.0)
    return result


def line(p: Parity) -> str:
    """One row of the table."""
    moved = "" if p.moved is None else f"{p.moved:.3f}"
    return (f"{p.task:18} {p.motion:8} {moved:>7} {p.success_step or 'never':>8} "
            f"{'equal' if p.exact_equal else 'DIFFERS':>9} {p.fast_difference:16.1e} {p.fast_within:7} "
            f"{'' if p.nudged_within is None else p.nudged_within:>7} {'equal' if p.success_equal else 'DIFFER':>6} "
            f"{'equal' if p.images_equal else 'DIFFER':>7} {'yes' if p.passed else 'NO':>6}")


def main() -> int:
    """Compare, print and count; the exit code is 1 if a comparison does not pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actions", type=int, default=ACTIONS, help="actions of a comparison")
    parser.add_argument("--only", nargs="*", help="tasks such as libero_10-9 (default: all)")
    parser.add_argument("--motion", choices=MOTIONS, nargs="*", default=MOTIONS, help="default: both")
    args = parser.parse_args()
    wanted = [key for key in MOVES if not args.only or "{}-{}".format(*key) in args.only]
    print(f"{'task':18} {'motion':8} {'moved':>7} {'success':>8} {'exact':>9} {'fast differs by':>16} {'within':>7} "
          f"{'nudged':>7} {'goal':>6} {'images':>7} {'passed':>6}", flush=True)
    found = []
    for suite, index in wanted:
        for motion in args.motion:
            found.append(compare(suite, index, args.actions, motion))
            print(line(found[-1]), flush=True)
    print(json.dumps(summary(found, args.actions)))
    return 0 if found and all(p.passed for p in found) else 1


if __name__ == "__main__":
    sys.exit(main())
