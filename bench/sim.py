"""How fast the simulation is, against the bare physics and against the stock loop: `python -m bench.sim`.

Everything is a ratio of times taken in turns in one run, because the speed of a shared machine drifts. An episode is
composed of measured parts: one reset, and as many chunks of actions as the default protocol's settling and step cap
come to. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bench.protocol import PROTOCOLS
from bench.stock import CHUNK, PIXELS, StockLoop, chunk_of, seconds
from envs.libero.env import LiberoEnv, assets_folder, open_scene, open_task, tasks

STEPS_N, RENDERS_N, LOOPS_N = 80, 15, 7
"""How often each comparison is made."""
TRIES = 3
"""How often a control step and its bare physics are repeated from one state. The shortest counts, in time of the
processor: both are one thread that computes the same each time, and what else is in them are other processes."""
SMALL_PIXELS = 128
"""Side of the images that a small policy asks for, which the stock loop would scale down from 256 pixels."""
RESETS_A_TIME, CHUNKS_A_TIME, PAIRS_A_TIME = 50, 12, 5
"""Own resets, own chunks and pairs of small images that are timed together: a process that has just been idle is slow
for some milliseconds, which an episode would never notice."""


def step_over_bare(env: LiberoEnv, rounds: int) -> tuple[list[float], list[float]]:
    """Processor seconds of a control step without images, and of its 25 `mj_step` alone, from the same states."""
    import mujoco

    from envs.libero.fast import SUBSTEPS

    def bare() -> None:
        for _ in range(SUBSTEPS):
            mujoco.mj_step(scene.model, scene.data)

    def shortest(call: Callable[[], object]) -> float:
        times = []
        for _ in range(TRIES):
            scene.restore(before)
            began = time.thread_time()
            call()
            times.append(time.thread_time() - began)
        return min(times)

    scene = env.scene
    env.reset(0, 0, observe=False)
    env.step(np.array(env.action_spec.hold), observe=False)
    ours, physics = [], []
    for turn in range(rounds):
        action = chunk_of(turn)[0]
        before = scene.snapshot()
        physics.append(shortest(bare))
        ours.append(shortest(lambda action=action: env.step(action, observe=False)))
    return ours, physics


def render_over_stock_robot(suite: str, task: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of a pair of small images with the lean robot, and with robosuite's meshes; nothing else differs."""
    spec, assets = tasks(suite)[task], assets_folder("builtin")
    both = [LiberoEnv(open_scene(spec, assets, lean, "fast"), SMALL_PIXELS, False) for lean in (True, False)]
    times: list[list[float]] = [[], []]
    for env in both:
        quality = env.scene.model.vis.quality
        for name in ("offsamples", "numslices", "numstacks", "numquads"):
            setattr(quality, name, getattr(both[0].scene.model.vis.quality, name))
        env.reset(0, 0)
    for _ in range(rounds):
        for env, taken in zip(both, times, strict=True):
            taken.append(per_call(env.observe, PAIRS_A_TIME))
    for env in both:
        env.close()
    return times[0], times[1]


class OwnLoop:
    """The same loop as `StockLoop`, as this project runs it: images once a chunk."""

    def __init__(self, suite: str, task: int, pixels: int):
        self.env = open_task(suite, task, pixels, "builtin")

    def reset(self, init_state: int) -> float:
        """Seconds of one reset."""
        return per_call(lambda: self.env.reset(init_state, 0, observe=False), RESETS_A_TIME)

    def chunk(self, seed: int) -> float:
        """Seconds of one chunk and the pictures after it."""
        def play() -> None:
            for index, action in enumerate(chunk_of(seed), start=1):
                self.env.step(action, observe=index == CHUNK)
        return per_call(play, CHUNKS_A_TIME)


def per_call(call: Callable[[], object], count: int) -> float:
    """Seconds of one of `count` calls in a row."""
    def several() -> None:
        for _ in range(count):
            call()
    return seconds(several) / count


def in_turns(loops: Mapping[str, OwnLoop | StockLoop], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of resets and chunks by loop, in turns; a first turn warms up and is left out."""
    times: dict[str, dict[str, list[float]]] = {name: {"reset": [], "chunk": []} for name in loops}
    for turn in range(rounds + 1):
        for what in ("reset", "chunk"):
            for name, loop in loops.items():
                times[name][what].append(getattr(loop, what)(turn))
    return {name: {what: taken[1:] for what, taken in parts.items()} for name, parts in times.items()}


def episode_seconds(parts: Mapping[str, list[float]], steps: int) -> np.ndarray:
    """float64[rounds]: an episode of `steps` control steps, composed of its measured parts."""
    return np.array(parts["reset"]) + steps / CHUNK * np.array(parts["chunk"])


def ratio(over: Sequence[float] | np.ndarray, under: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Median of the ratios within turns, the distance of their quartiles, and how many there are."""
    ratios = np.asarray(over) / np.asarray(under)
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return {"median": round(float(middle), 5), "spread": round(float(high - low), 5), "n": len(ratios)}


def measure(suite: str, task: int) -> dict[str, dict[str, float]]:
    """Every comparison; prints the times they are made of."""
    own = OwnLoop(suite, task, PIXELS)
    step, bare = step_over_bare(own.env, STEPS_N)
    tell("control step without images", step)
    tell("25 bare physics steps", bare)
    lean, stock_robot = render_over_stock_robot(suite, task, RENDERS_N)
    tell(f"two {SMALL_PIXELS} px images", lean)
    tell("the same with the stock robot", stock_robot)
    result = {"step_over_bare": ratio(step, bare), "render_over_stock_robot": ratio(lean, stock_robot)}
    result |= episodes(suite, task, own)
    own.env.close()
    return result


def episodes(suite: str, task: int, own: OwnLoop) -> dict[str, dict[str, float]]:
    """Ratios of episodes per hour and of resets, everything at 256 pixels.

    `..._over_stock` is LIBERO as it is installed, with the built-in pack as its asset folder: robosuite draws its own
    robot. `..._over_stock_same_look` gives the stock loop the lean robot as well, so that only the loops differ; its
    bound is the 8 steps of a chunk, of which one is drawn here. `..._small_images` is the same, but this project's loop
    draws the 128 pixels of its own policies.
    """
    protocol = next(iter(PROTOCOLS.values()))
    steps = protocol.settle_steps + protocol.cap(suite)
    small = OwnLoop(suite, task, SMALL_PIXELS)
    result = {}
    for name, lean in (("stock", False), ("stock_same_look", True)):
        stock = StockLoop(suite, task, lean)
        times = in_turns({"own": own, "own, small images": small, name: stock}, LOOPS_N)
        stock.close()
        for loop, parts in times.items():
            for what, taken in parts.items():
                tell(f"{what} ({loop})", taken)
        took = {loop: episode_seconds(parts, steps) for loop, parts in times.items()}
        result[f"episodes_per_hour_over_{name}"] = ratio(took[name], took["own"])
        result[f"reset_over_{name}"] = ratio(times["own"]["reset"], times[name]["reset"])
        result[f"episodes_per_hour_over_{name}_small_images"] = ratio(took[name], took["own, small images"])
    small.env.close()
    return result


def tell(what: str, taken: Sequence[float]) -> None:
    """One line of milliseconds."""
    low, middle, high = np.percentile(taken, [25, 50, 75]) * 1e3
    print(f"{what:40} {middle:10.2f} ms   quartiles {low:.2f} .. {high:.2f}   n {len(taken)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--task", type=int, default=0)
    args = parser.parse_args()
    result = measure(args.suite, args.task)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
