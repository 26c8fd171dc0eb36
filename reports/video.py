"""Side-by-side videos of a run: full precision on the left, quantized on the right, one per task.

They are made from recorded frames and traces alone, so they can be made again without a simulator.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pandas as pd

from reports.load import PAIR_FIELDS, RunData, Variant, load_run
from reports.panel import Side, Story, draw_frame
from reports.table import method_labels

FRAME_STEPS = 2
"""Control steps between two recorded frames.

Frame i shows the world when `FRAME_STEPS * i + 1` steps are done; a success adds a frame of its last step.
"""

HOLD_SECONDS = 1.5
"""How long the last frame stays, so that both outcomes can be read."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """The two episodes of one video."""

    baseline: Variant
    """Full precision."""
    variant: Variant
    """Quantized."""
    left: Any
    """Row of the baseline's episode."""
    right: Any
    """Row of the variant's episode."""


def write_videos(run_dir: str | Path) -> list[Path]:
    """Write `videos/SUITE-TASK.mp4` (`SUITE-TASK-VARIANT.mp4` if there are several variants); return the paths.

    Of each task the first init state and seed is taken for which both episodes have frames. A task without such a
    pair is skipped with a logged warning that says what is missing. Raises what `load_run` raises.
    """
    run = load_run(run_dir)
    pairs, skipped = find_pairs(run)
    for line in skipped:
        log.warning(line)
    (run.path / "videos").mkdir(exist_ok=True)
    return [_write(run, pair) for pair in pairs]


def find_pairs(run: RunData) -> tuple[list[Pair], list[str]]:
    """The pairs that a video can be made of, and a line for every task and variant for which there is none."""
    pairs, skipped = [], []
    tasks = run.episodes.drop_duplicates(["suite", "task"]).sort_values(["suite", "task"])
    for variant in (v for v in run.variants if not v.baseline):
        baseline = run.baseline_of(variant)
        for suite, task in tasks[["suite", "task"]].itertuples(index=False):
            pair = None if baseline is None else _first_pair(run, baseline, variant, suite, task)
            if pair:
                pairs.append(pair)
            else:
                why = "no baseline" if baseline is None else "no episode with frames and traces of both"
                skipped.append(f"no video of {suite} task {task}, {variant.method}: {why}")
    return pairs, skipped


def video_name(run: RunData, variant: Variant, suite: str, task: int) -> str:
    """The file name of a task's video; it names the variant only where the run has several."""
    several = sum(not v.baseline for v in run.variants) > 1
    return f"{suite}-{task}-{variant.variant_id}.mp4" if several else f"{suite}-{task}.mp4"


def _first_pair(run: RunData, baseline: Variant, variant: Variant, suite: str, task: int) -> Pair | None:
    def by_key(of: Variant) -> dict[tuple, Any]:
        episodes = run.episodes_of(of)
        episodes = episodes[(episodes["suite"] == suite) & (episodes["task"] == task)]
        return {tuple(getattr(row, field) for field in PAIR_FIELDS): row for row in episodes.itertuples(index=False)}

    left, right = by_key(baseline), by_key(variant)
    for key in sorted(left.keys() & right.keys()):
        files = [file for row in (left[key], right[key]) for file in (_frames(run, row), run.path / row.trace)]
        if all(file.is_file() for file in files):
            return Pair(baseline, variant, left[key], right[key])
    return None


def _frames(run: RunData, row: Any) -> Path:
    return run.path / "frames" / row.variant_id / f"{row.suite}-{row.task}-{row.init_state}-{row.seed}.mp4"


def _write(run: RunData, pair: Pair) -> Path:
    target = run.path / "videos" / video_name(run, pair.variant, pair.right.suite, pair.right.task)
    # Written under another name first: a video that was cut off must not be taken for a finished one.
    part = target.with_suffix(".part.mp4")
    story = _story(run, pair)
    with imageio.get_reader(_frames(run, pair.left), "ffmpeg") as left, \
            imageio.get_reader(_frames(run, pair.right), "ffmpeg") as right:
        fps = left.get_meta_data()["fps"]
        with imageio.get_writer(part, "ffmpeg", fps=fps, codec="libx264", pixelformat="yuv420p", quality=7) as writer:
            frame = None
            for frame in _drawn(story, iter(left), iter(right)):
                writer.append_data(frame)
            for _ in range(round(HOLD_SECONDS * fps) if frame is not None else 0):
                writer.append_data(frame)
    part.replace(target)
    return target


def _drawn(story: Story, left: Iterator[np.ndarray], right: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Every frame until both episodes are over; the shorter one stands still at its last picture."""
    last = max(story.left.steps, story.right.steps)
    pictures: list[np.ndarray | None] = [None, None]
    done = 0
    while done < last:
        for side, source in enumerate((left, right)):
            pictures[side] = next(chain(source, [pictures[side]]))
        done = min(done + FRAME_STEPS if done else 1, last)
        yield draw_frame(story, *pictures, done)


def _story(run: RunData, pair: Pair) -> Story:
    labels = method_labels(run)
    left, right = (pd.read_parquet(run.path / row.trace, columns=["x", "y", "z"]).to_numpy(np.float64)
                   for row in (pair.left, pair.right))
    both = min(len(left), len(right))
    drift = pair.right.drift or {}
    return Story(
        instruction=pair.right.instruction,
        left=Side(labels[pair.baseline.variant_id], pair.left.outcome, pair.left.steps),
        right=Side(labels[pair.variant.variant_id], pair.right.outcome, pair.right.steps),
        distance_mm=1000.0 * np.linalg.norm(left[:both] - right[:both], axis=1),
        divergence_step=drift.get("first_divergence_step"),
        threshold_mm=drift.get("divergence_threshold_mm"),
    )
