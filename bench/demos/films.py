"""Films of collected episodes, one file for each task and camera with its episodes one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.demos import parts
from bench.demos.episode import TRAINED_ON
from bench.demos.pictures import painter
from bench.demos.plan import Task
from envs.types import OSC_POSE

KEYS = {camera: f"observation.images.{camera}" for camera in TRAINED_ON.cameras}
"""Camera -> feature of the data set."""
CODING = ("-crf", "18", "-g", "2")
"""Quality, and a key frame every second frame, so that single frames can be read quickly."""


def path(task: Task, camera: str) -> Path:
    """The film of a task; files are numbered by task."""
    return task.dataset / "videos" / KEYS[camera] / "chunk-000" / f"file-{task.index:03d}.mp4"


def _notes(task: Task) -> Path:
    return task.parts / "films.json"


def statistics(task: Task) -> dict[str, Any] | None:
    """What `film` measured of the pixels, by feature and episode; None if films are missing or episodes were added."""
    if not _notes(task).is_file() or not all(path(task, camera).is_file() for camera in KEYS):
        return None
    notes = json.loads(_notes(task).read_text())
    return notes["statistics"] if notes["episodes"] == _lengths(task) else None


def _lengths(task: Task) -> list[int]:
    return [parts.facts(part)["length"] for part in task.collected()]


def film(task: Task) -> Iterator[str | None]:
    """Draw and encode all episodes of a task; yields None after each."""
    import imageio_ffmpeg

    drafts, writers = {}, {}
    for camera in KEYS:
        path(task, camera).parent.mkdir(parents=True, exist_ok=True)
        drafts[camera] = path(task, camera).with_name(f".{path(task, camera).stem}.part.mp4")
        size = (TRAINED_ON.image_size,) * 2
        writers[camera] = imageio_ffmpeg.write_frames(
            str(drafts[camera]), size, fps=OSC_POSE.control_hz, codec="libx264", pix_fmt_out="yuv420p", quality=None,
            output_params=list(CODING), macro_block_size=16)
        writers[camera].send(None)
    measured: dict[str, list[Any]] = {key: [] for key in KEYS.values()}
    with painter(task) as paint:
        for part in task.collected():
            episode = parts.load(part)
            drawn = np.stack([paint.draw(episode, row) for row in range(len(episode.actions))])
            for index, (camera, key) in enumerate(KEYS.items()):
                for frame in drawn[:, index]:
                    writers[camera].send(np.ascontiguousarray(frame))
                measured[key].append(_pixels(drawn[:, index]))
            yield None
    for camera, writer in writers.items():
        writer.close()
        drafts[camera].replace(path(task, camera))
    _notes(task).write_text(json.dumps({"episodes": _lengths(task), "statistics": measured}))


def _pixels(frames: np.ndarray) -> dict[str, Any]:
    """Per channel over uint8[T, S, S, 3], in 0..1 and in the shape [3, 1, 1] that LeRobot uses; every tenth frame."""
    values = frames[::10].reshape(-1, 3) / 255.0
    found = {name: getattr(values, name)(0).reshape(3, 1, 1).tolist() for name in ("min", "max", "mean", "std")}
    return found | {"count": [len(frames[::10])]}
