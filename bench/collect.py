"""Collect one round of training episodes: `python -m bench.collect --round 0 --episodes 40`; resumable."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.demos import collect, save
from envs.libero.env import open_task, tasks
from policies.pocket.model import PocketConfig

ROUND_SEEDS = 100_000
"""Distance between the seeds of two rounds."""


def collect_round(
    folder: Path, suite: str, number: int, episodes: int, indices: list[int], weights: Path | None
) -> None:
    """Fill `folder/roundN/task-T/` for the tasks `indices`; `weights` is the policy that drives, None the expert."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"{suite}-{task.index}": task.instruction for task in tasks(suite)}
    (folder / "instructions.json").write_text(json.dumps(names, indent=2))
    driver = None
    if weights is not None:
        import torch

        from policies.pocket.oft import PocketOFT

        torch.set_num_threads(1)
        driver = PocketOFT(weights)
    for index in indices:
        paths = [folder / f"round{number}" / f"{suite}-{index}" / f"{k}.npz" for k in range(episodes)]
        if all(path.is_file() for path in paths):
            continue
        env = open_task(suite, index, PocketConfig().image_size, "builtin", privileged=True)
        done = []
        for k, path in enumerate(paths):
            if not path.is_file():
                demonstration = collect(env, (number * ROUND_SEEDS) + index * 1000 + k, driver)
                save(path, demonstration)
                done.append(demonstration.success)
        env.close()
        print(f"round {number} {suite} task {index}: {sum(done)}/{len(done)} reached the goal", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/pocket"))
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--episodes", type=int, default=40, help="per task")
    parser.add_argument("--tasks", type=int, nargs="*", help="task indices (all)")
    parser.add_argument("--weights", type=Path, help="checkpoint folder of the policy that drives (the expert)")
    args = parser.parse_args()
    indices = args.tasks or [task.index for task in tasks(args.suite)]
    collect_round(args.data, args.suite, args.round, args.episodes, indices, args.weights)


if __name__ == "__main__":
    main()
