"""Train `pocket-oft` from nothing: `make pocket`, or `python -m bench.pocket`.

Rounds of collecting, drawing and training. In the first the expert drives; in the later ones the policy trained so far
drives and the expert labels what it visits (DAgger, Ross et al. 2011). Every step leaves files and is skipped when they
are there, so an interrupted run goes on. The official init states are never looked at. Ends by writing the checkpoint
folder: fp16 weights, sizes, and the calibration observations that quantizers use.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.demos.plan import select
from bench.demos.workers import available
from bench.variants import package_root
from policies.registry import POLICIES

POLICY, HEAD = "pocket-oft", "oft"
"""Name in the registry, and what the trainer calls it."""
SUITES = ("libero_object",)
"""One checkpoint is trained on all of them."""
CALIBRATION_OBSERVATIONS = 96
"""Observations shipped for calibration; spread evenly over suites, tasks and episodes of the expert's round."""


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


def run(data: Path, workers: int, video: bool) -> Path:
    """Play all rounds; return the folder of the last one's weights."""
    weights, start = None, None
    for number, plan in enumerate(ROUNDS):
        driver = "expert" if weights is None else f"{POLICY}:{weights}"
        _python("bench.collect", "--data", data, "--suites", ",".join(SUITES), "--round", number, "--episodes",
                plan.episodes, "--driver", driver, "--workers", workers, "--video" if video else "--no-video")
        _python("bench.frames", "--data", data, "--suites", *SUITES, "--rounds", number, "--workers", workers)
        out = data / f"stage{number}"
        if not (out / "done").is_file():
            frames = [folder for earlier in range(number + 1) for folder in drawn(data, earlier)]
            _python("policies.pocket.train", "--head", HEAD, "--frames", *frames, "--out", out, "--samples",
                    plan.samples, "--lr", plan.lr, *(() if start is None else ("--start", start)))
            (out / "done").touch()
        weights, start = out / "weights", out / "last.pt"
    return weights


def _python(module: str, *arguments: object) -> None:
    """Run one of the project's commands; raises `CalledProcessError` if it fails."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True)


def drawn(data: Path, number: int) -> list[Path]:
    """The folders of a round that hold decisions with pictures, in the order of suites and tasks."""
    return [task.frames for task in select(data, number, SUITES) if (task.frames / "meta.json").is_file()]


def write_calibration(frames: Sequence[Path], path: Path) -> None:
    """Pick the calibration observations from the folders of drawn decisions and write them as one npz.

    As many from each folder, each from another episode and another part of it if there are enough. Raises
    `FileNotFoundError` without folders.
    """
    if not frames:
        raise FileNotFoundError("there are no drawn decisions to calibrate with; python -m bench.frames makes them")
    images, states, instructions, names = [], [], [], []
    per_folder = -(-CALIBRATION_OBSERVATIONS // len(frames))
    for folder in frames:
        texts = json.loads((folder / "instructions.json").read_text())
        seen, state, text, number = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "states", "text", "episode"))
        episodes = np.unique(number)
        for pick in range(per_folder):
            episode = episodes[pick * len(episodes) // per_folder]
            rows = np.flatnonzero(number == episode)
            row = rows[len(rows) * (2 * pick + 1) // (2 * per_folder)]
            images.append(seen[row])
            states.append(state[row])
            instructions.append(texts[text[row]])
            names.append(f"{folder.parent.name}/{folder.name}/{episode}")
    kept = np.linspace(0, len(states) - 1, CALIBRATION_OBSERVATIONS).round().astype(int)
    np.savez_compressed(
        path, images=np.stack(images)[kept], states=np.stack(states)[kept], instructions=np.array(instructions)[kept],
        episodes=np.array(names)[kept],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/pocket"), help="where episodes and stages are kept")
    parser.add_argument("--out", type=Path, default=package_root() / POLICIES[POLICY].weights,
                        help="checkpoint folder to write")
    parser.add_argument("--workers", type=int, default=available(), help="collecting processes (all cores)")
    parser.add_argument("--video", action=argparse.BooleanOptionalAction, default=False, help="draw films as well")
    args = parser.parse_args()
    weights = run(args.data, args.workers, args.video)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(weights / name, args.out / name)
    write_calibration(drawn(args.data, 0), args.out / "calibration.npz")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
