"""The episodes of a round in the LeRobot data set format, version 3.0, so that other tools can read them.

One data set a suite. Files of data and of films are numbered by task. Derived from the episodes' own files, so it can
be written again at any time. The format: https://huggingface.co/docs/lerobot/lerobot-dataset-v3.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.demos import films, parts
from bench.demos.episode import TRAINED_ON, Episode
from bench.demos.plan import Task
from bench.demos.statistics import merged, of_array
from bench.demos.workers import spread
from envs.types import OSC_POSE

VERSION = "v3.0"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_STATE = ["x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "finger_left", "finger_right"]
_ACTION = ["x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper"]
NAMES = {"observation.state": _STATE, "action": _ACTION}
"""Features whose numbers have names."""
INDICES = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64",
           "task_index": "int64"}
"""Columns that every LeRobot data set has, by type."""
MEASURED = ("observation.state", "action", "next.success", "next.done", "focus", *INDICES)
"""Columns with statistics; those of simulator states would tell nobody anything."""


def assemble(tasks: Sequence[Task], video: bool, workers: int) -> list[Path]:
    """Write the data sets that the tasks belong to, from all finished episodes of their suites and round.

    Returns their folders.
    """
    from envs.libero.env import tasks as listed

    folders = []
    for task in {task.dataset: task for task in tasks}.values():
        of_suite = [Task(task.data, task.round, task.suite, spec.index) for spec in listed(task.suite)]
        filled = [one for one in of_suite if one.collected()]
        if not filled:
            continue
        if video:
            left = [one for one in filled if films.statistics(one) is None]
            spread(films.film, {one.name: one for one in left}, lambda one: len(one.collected()), workers, "film")
        write(filled, video)
        folders.append(task.dataset)
    return folders


def write(tasks: Sequence[Task], video: bool) -> None:
    """Write data and meta of one data set; films are there already if it is to have `video`, else they are not told of.
    """
    root = tasks[0].dataset
    for stale in ("data", "meta"):
        shutil.rmtree(root / stale, ignore_errors=True)
    lengths = _largest(tasks)
    instructions: dict[str, int] = {}
    rows, first, table = [], 0, None
    for task in tasks:
        pixels = films.statistics(task) if video else None
        path = root / DATA.format(chunk_index=0, file_index=task.index)
        path.parent.mkdir(parents=True, exist_ok=True)
        writer, filmed = None, 0
        for number, part in enumerate(task.collected()):
            episode = parts.load(part)
            task_index = instructions.setdefault(episode.instruction, len(instructions))
            table = _table(episode, len(rows), first, task_index, lengths)
            # One row group an episode, so that single episodes can be read.
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            row = _row(episode, len(rows), first, task.index)
            row |= _numbers({key: of_array(parts.values(table, key)) for key in MEASURED})
            if pixels is not None:
                row |= _film(task.index, filmed, table.num_rows)
                row |= _numbers({key: pixels[key][number] for key in films.KEYS.values()})
            rows.append(row)
            first, filmed = first + table.num_rows, filmed + table.num_rows
        writer.close()
    _meta(root, rows, instructions, _features(table.schema, video), first, video)


def _largest(tasks: Sequence[Task]) -> Mapping[str, int]:
    """Width of the columns whose width depends on the task; shorter rows are filled with zeros."""
    schemas = [pq.read_schema(task.collected()[0]) for task in tasks]
    return {name: max(schema.field(name).type.list_size for schema in schemas)
            for name in ("simulator_state", "shown_positions")}


def _table(episode: Episode, index: int, first: int, task_index: int, widths: Mapping[str, int]) -> pa.Table:
    count = len(episode.actions)
    columns = {}
    for array, name in parts.COLUMNS.items():
        values = getattr(episode, array)
        if name in widths:
            values = np.pad(values, ((0, 0), (0, widths[name] - values.shape[1])))
        columns[name] = parts.column(values)
    frames = np.arange(count)
    columns["next.done"] = pa.array(frames == count - 1)
    counted = {"timestamp": frames / OSC_POSE.control_hz, "frame_index": frames, "episode_index": np.full(count, index),
               "index": first + frames, "task_index": np.full(count, task_index)}
    return pa.table(columns | {key: pa.array(counted[key].astype(kind)) for key, kind in INDICES.items()})


def _row(episode: Episode, index: int, first: int, file_index: int) -> dict[str, Any]:
    """A line of meta/episodes: LeRobot's columns, then ours."""
    length = len(episode.actions)
    return {
        "episode_index": index, "tasks": [episode.instruction], "length": length, "data/chunk_index": 0,
        "data/file_index": file_index, "dataset_from_index": first, "dataset_to_index": first + length,
        "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0,
        "suite": episode.suite, "suite_task": episode.task, "number": episode.number, "seed": episode.seed,
        "driver": episode.driver, "largest_noise_scale": float(episode.noise.max()), "success": episode.success,
        "assets": episode.assets, "fixture_poses": episode.fixtures.reshape(-1).tolist(),
        "simulator_state_size": episode.simulator.shape[1], "shown_positions_size": episode.shown.shape[1],
    }


def _film(file_index: int, begins: int, length: int) -> dict[str, Any]:
    """Where an episode of `length` frames is in its film; `begins` counts frames."""
    row: dict[str, Any] = {}
    for key in films.KEYS.values():
        row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": file_index,
                f"videos/{key}/from_timestamp": begins / OSC_POSE.control_hz,
                f"videos/{key}/to_timestamp": (begins + length) / OSC_POSE.control_hz}
    return row


def _numbers(statistics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"stats/{key}/{name}": value for key, found in statistics.items() for name, value in found.items()}


def _features(schema: pa.Schema, video: bool) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for field in schema:
        listed = pa.types.is_fixed_size_list(field.type)
        kind = field.type.value_type if listed else field.type
        dtype = {"double": "float64", "float": "float32"}.get(str(kind), str(kind))
        features[field.name] = {"dtype": dtype, "shape": [field.type.list_size if listed else 1],
                                "names": NAMES.get(field.name)}
    size = TRAINED_ON.image_size
    for key in films.KEYS.values() if video else ():
        features[key] = {
            "dtype": "video", "shape": [size, size, 3], "names": ["height", "width", "channels"],
            "info": {"video.height": size, "video.width": size, "video.codec": "h264", "video.pix_fmt": "yuv420p",
                     "video.is_depth_map": False, "video.fps": int(OSC_POSE.control_hz), "video.channels": 3,
                     "has_audio": False}}
    return features


def _meta(root: Path, rows: list[dict[str, Any]], instructions: Mapping[str, int], features: Mapping[str, Any],
          frames: int, video: bool) -> None:
    import pandas as pd

    folder = root / "meta" / "episodes" / "chunk-000"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "file-000.parquet")
    pd.DataFrame({"task_index": list(instructions.values())}, index=pd.Index(instructions, name="task")).to_parquet(
        root / "meta" / "tasks.parquet")
    (root / "meta" / "stats.json").write_text(json.dumps(merged(rows), indent=2) + "\n")
    info = {
        "codebase_version": VERSION, "robot_type": "panda", "total_episodes": len(rows), "total_frames": frames,
        "total_tasks": len(instructions), "chunks_size": 1000, "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200, "fps": int(OSC_POSE.control_hz), "splits": {"train": f"0:{len(rows)}"},
        "data_path": DATA, "video_path": VIDEO if video else None, "features": dict(features),
    }
    # Last, for its presence says that the data set is complete.
    (root / "meta" / "info.json").write_text(json.dumps(info, indent=2) + "\n")
