"""Train `pocket-oft` from nothing: `make pocket`, or `python -m bench.pocket`.

Rounds of collecting and training. In the first the expert drives; in the later ones the policy trained so far drives
and the expert labels what it visits (DAgger, Ross et al. 2011). Every step leaves files and is skipped when they are
there, so an interrupted run goes on. The official init states are never looked at. Ends by writing the checkpoint
folder: fp16 weights, sizes, and the calibration observations that quantizers use.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.libero.env import tasks
from policies.pocket.oft import WEIGHTS

SUITE = "libero_object"
CALIBRATION_OBSERVATIONS = 64
"""Observations shipped for calibration; spread evenly over the tasks and over their episodes."""


@dataclass(frozen=True)
class Round:
    """One round of collecting and training."""

    episodes: int
    """Episodes per task."""
    samples: int
    """Training samples drawn, from all rounds so far."""
    lr: float
    """Peak learning rate."""


ROUNDS = (Round(40, 64_000, 6e-4), Round(16, 64_000, 4e-4))
"""The recipe of the shipped weights."""


def run(data: Path, workers: int, threads: int) -> Path:
    """Play all rounds; return the folder of the last one's weights."""
    weights, start = None, None
    for number, plan in enumerate(ROUNDS):
        _collect(data, number, plan.episodes, weights, workers)
        out = data / f"stage{number}"
        if not (out / "done").is_file():
            command = [sys.executable, "-m", "policies.pocket.train", "--data", data, "--out", out, "--samples",
                       plan.samples, "--lr", plan.lr, "--threads", threads]
            if start is not None:
                command += ["--start", start]
            subprocess.run([str(part) for part in command], check=True)
            (out / "done").touch()
        weights, start = out / "weights", out / "last.pt"
    return weights


def _collect(data: Path, number: int, episodes: int, weights: Path | None, workers: int) -> None:
    """Collect one round, the tasks dealt over `workers` processes: a process draws for one scene at a time."""
    indices = [task.index for task in tasks(SUITE)]

    def deal(worker: int) -> None:
        mine = [str(index) for index in indices[worker::workers]]
        command = [sys.executable, "-m", "bench.collect", "--data", str(data), "--suite", SUITE, "--round", str(number),
                   "--episodes", str(episodes), "--tasks", *mine]
        subprocess.run(command + (["--weights", str(weights)] if weights else []), check=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(deal, range(workers)))


def write_calibration(data: Path, path: Path) -> None:
    """Pick the calibration observations from the expert's first round and write them as one npz."""
    images, states, instructions, episodes = [], [], [], []
    listed = tasks(SUITE)
    per_task = -(-CALIBRATION_OBSERVATIONS // len(listed))
    for task in listed:
        for episode in range(per_task):
            name = f"round0/{SUITE}-{task.index}/{episode}"
            with np.load(data / f"{name}.npz") as recorded:
                row = (len(recorded["states"]) * (2 * episode + 1)) // (2 * per_task)
                images.append(recorded["images"][row])
                states.append(recorded["states"][row])
            instructions.append(task.instruction)
            episodes.append(name)
    kept = np.linspace(0, len(states) - 1, CALIBRATION_OBSERVATIONS).round().astype(int)
    np.savez_compressed(
        path, images=np.stack(images)[kept], states=np.stack(states)[kept], instructions=np.array(instructions)[kept],
        episodes=np.array(episodes)[kept],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/pocket"), help="where episodes and stages are kept")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="checkpoint folder to write")
    parser.add_argument("--workers", type=int, default=2, help="collecting processes")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of training")
    args = parser.parse_args()
    weights = run(args.data, args.workers, args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(weights / name, args.out / name)
    write_calibration(args.data, args.out / "calibration.npz")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
