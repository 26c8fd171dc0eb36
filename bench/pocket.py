"""Train the pocket policies from nothing: `make pocket`, or `python -m bench.pocket`.

The backbone first, with the head of `pocket-oft`: rounds of collecting, drawing and training. In some the expert
drives; in the others the policy trained so far drives and the expert labels what it visits (DAgger, Ross et al. 2011).
The other heads begin at that backbone. Every step leaves files and is skipped when they are there, so an interrupted
run goes on. The official init states are never looked at before the end, when every policy is played on them. Writes
one checkpoint folder per head: fp16 weights, sizes, and the calibration observations that quantizers use.
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

MAIN = POLICIES["pocket-oft"].suites
"""The suites that one checkpoint is trained on and played on."""
BACKBONE = "oft"
"""The head that the rounds train; the others begin where it ends."""
CALIBRATION_OBSERVATIONS = 96
"""Observations shipped for calibration; spread evenly over suites, tasks and episodes of the expert's last round."""
TRIALS = 10
"""Official init states per task that the finished policies are played on."""


@dataclass(frozen=True)
class Round:
    """One round of collecting and training."""

    suites: tuple[str, ...]
    """What is collected."""
    expert: bool
    """Whether the expert drives, or the policy of the round before."""
    episodes: int
    """Episodes per task."""
    first: int
    """Number of the first round whose decisions are trained on; all from there on are."""
    samples: int
    """Training samples drawn."""
    lr: float
    """Peak learning rate."""


ROUNDS = (
    Round(("libero_object",), True, 40, 0, 64_000, 6e-4),
    Round(("libero_object",), False, 16, 0, 64_000, 4e-4),
    Round(MAIN, True, 24, 2, 128_000, 6e-4),
    Round(MAIN, False, 8, 2, 64_000, 4e-4),
    Round(MAIN, True, 24, 2, 300_000, 8e-4),
    Round(MAIN, False, 20, 2, 150_000, 6e-4),
)
"""The easiest suite first: what is learnt there of pictures, words and grasping is not learnt again for forty tasks."""


@dataclass(frozen=True)
class Stage:
    """One training of a head once there is a backbone, on the same decisions as the last round."""

    samples: int
    """Training samples drawn."""
    lr: float
    """Peak learning rate."""
    freeze: bool = False
    """Whether the backbone stays as it is."""


HEADS = {
    "flow": (Stage(192_000, 1e-3, freeze=True), Stage(64_000, 4e-4)),
    "token": (Stage(192_000, 8e-4),),
}
"""Head -> its trainings, each from where the one before ended."""


def train_rounds(data: Path, workers: int, video: bool) -> tuple[Path, Path]:
    """Play all rounds; return the folder of the last one's weights, and the run that others can begin at."""
    weights, start = None, None
    for number, plan in enumerate(ROUNDS):
        driver = "expert" if plan.expert else f"pocket-{BACKBONE}:{weights}"
        _python("bench.collect", "--data", data, "--suites", ",".join(plan.suites), "--round", number, "--episodes",
                plan.episodes, "--driver", driver, "--workers", workers, "--video" if video else "--no-video")
        _python("bench.frames", "--data", data, "--suites", *plan.suites, "--rounds", number, "--workers", workers)
        frames = [folder for earlier in range(plan.first, number + 1) for folder in drawn(data, earlier)]
        begin = () if start is None else ("--start", start)
        out = data / f"stage{number}"
        _train(BACKBONE, frames, out, plan.samples, plan.lr, *begin)
        weights, start = out / "weights", out / "last.pt"
    return weights, start


def train_head(data: Path, name: str, start: Path) -> Path:
    """Train a head of `HEADS` from the backbone of the run `start`; return the folder of its weights."""
    frames = [folder for number in range(ROUNDS[-1].first, len(ROUNDS)) for folder in drawn(data, number)]
    for number, stage in enumerate(HEADS[name]):
        freeze = ("--freeze", "backbone") if stage.freeze else ()
        out = data / f"head-{name}-{number}"
        _train(name, frames, out, stage.samples, stage.lr, "--start", start, *freeze)
        start = out / "last.pt"
    return out / "weights"


def _train(head: str, frames: Sequence[Path], out: Path, samples: int, lr: float, *more: object) -> None:
    if not (out / "done").is_file():
        _python("policies.pocket.train", "--head", head, "--frames", *frames, "--out", out, "--samples", samples,
                "--lr", lr, *more)
        (out / "done").touch()


def _python(module: str, *arguments: object) -> None:
    """Run one of the project's commands; raises `CalledProcessError` if it fails."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True)


def drawn(data: Path, number: int) -> list[Path]:
    """The folders of a round that hold decisions with pictures, in the order of suites and tasks."""
    suites = ROUNDS[number].suites
    return [task.frames for task in select(data, number, suites) if (task.frames / "meta.json").is_file()]


def install(weights: Path, frames: Sequence[Path], out: Path) -> None:
    """Write the checkpoint folder `out` from a run's weights and the drawn decisions `frames`."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(weights / name, out / name)
    write_calibration(frames, out / "calibration.npz")
    print(f"wrote {out}", flush=True)


def evaluate(head: str, workers: int) -> None:
    """Play the installed checkpoint on the official init states of all suites; the tables are in runs/."""
    for suite in MAIN:
        _python("bench", "bench", "--suite", suite, "--policy", f"pocket-{head}", "--method", "fp", "--trials", TRIALS,
                "--run", f"pocket-{head}-{suite}", "--no-video", "--threads", 1, "--workers", workers)


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
    parser.add_argument("--heads", nargs="+", choices=(BACKBONE, *HEADS), default=(BACKBONE, *HEADS),
                        help="policies to make (all); the backbone is trained for each of them")
    parser.add_argument("--workers", type=int, default=available(), help="collecting processes (all cores)")
    parser.add_argument("--video", action=argparse.BooleanOptionalAction, default=False, help="draw films as well")
    parser.add_argument("--play", action=argparse.BooleanOptionalAction, default=True,
                        help="end by playing the policies on the official init states")
    args = parser.parse_args()
    weights, start = train_rounds(args.data, args.workers, args.video)
    expert = max(number for number, plan in enumerate(ROUNDS) if plan.expert)
    for head in args.heads:
        made = weights if head == BACKBONE else train_head(args.data, head, start)
        install(made, drawn(args.data, expert), package_root() / POLICIES[f"pocket-{head}"].weights)
        if args.play:
            evaluate(head, args.workers)


if __name__ == "__main__":
    main()
