"""Calibration observations from a LeRobot data set, versions 2.0 to 3.0.

Frames are chosen over all episodes. Pictures come from films, or from the table where they are stored as images. The
format: https://huggingface.co/docs/lerobot/lerobot-dataset-v3.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.errors import UsageError
from bench.sources.pictures import checked_state, fitted, read_picture
from bench.sources.source import Seen, Source, Views
from envs.types import STATE_DIM, Observation

STATE = "observation.state"
"""The column that a state is read from."""
PICTURES = "observation.images."
"""What the names of pictures begin with."""
_COLUMNS = (STATE, "task_index", "episode_index", "timestamp")


@dataclass(frozen=True)
class DataSet:
    """What is read of a data set once."""

    root: Path
    """Its folder."""
    info: Mapping[str, Any]
    """meta/info.json."""
    rows: pa.Table
    """Numbers of all frames, in order."""
    tasks: Mapping[int, str]
    """Index of a task -> instruction."""
    episodes: Mapping[int, Mapping[str, Any]]
    """Episode -> where its films are, of a data set of version 3; empty before."""
    keys: Mapping[str, str]
    """Camera of the policy -> feature with its pictures."""


def source(root: Path, views: Views) -> Source:
    """All frames of a data set. Raises `UsageError` for one that a policy with these views could not be shown."""
    info = json.loads((root / "meta" / "info.json").read_text())
    features = info.get("features", {})
    keys = _keys(root, features, views)
    if STATE not in features and views.state:
        raise UsageError(f"{root} has no {STATE}, which policies here read; its features are {', '.join(features)}")
    files = sorted((root / "data").glob("*/*.parquet"))
    if not files:
        raise UsageError(f"{root} has no data/*/*.parquet; it was not downloaded completely")
    columns = [name for name in _COLUMNS if name != STATE or name in features]
    rows = pa.concat_tables([pq.read_table(path, columns=columns) for path in files])
    order = pc.sort_indices(rows, [("episode_index", "ascending"), ("timestamp", "ascending")])
    opened = DataSet(root, info, rows.take(order), _tasks(root), _episodes(root), keys)
    return Source(f"LeRobot data set {root}", opened.rows.num_rows, lambda indices: _load(opened, indices, views))


def _keys(root: Path, features: Mapping[str, Any], views: Views) -> dict[str, str]:
    """Camera -> feature; the user's names win, then the camera's own name, then the only one that there is."""
    pictures = [name for name, feature in features.items() if feature.get("dtype") in ("video", "image")]
    if not pictures:
        raise UsageError(f"{root} has no pictures, neither films nor images; a data set of `make pocket-data` has "
                         "films unless VIDEO=off, and a folder of `python -m bench.frames` can be named instead")
    found = {}
    for camera in views.cameras:
        named = views.keys.get(camera)
        wanted = [named, f"{PICTURES}{named}"] if named else [f"{PICTURES}{camera}", camera]
        key = next((name for name in wanted if name in pictures), None)
        if key is None and named is None and len(pictures) == len(views.cameras) == 1:
            key = pictures[0]
        if key is None:
            raise UsageError(f"{root} has no pictures {wanted[0]!r} for camera {camera!r}; it has "
                             f"{', '.join(pictures)}; map them with --cameras {camera}=NAME")
        found[camera] = key
    return found


def _tasks(root: Path) -> dict[int, str]:
    table, lines = root / "meta" / "tasks.parquet", root / "meta" / "tasks.jsonl"
    if table.is_file():
        rows = pq.read_table(table).to_pydict()
        texts = next(values for name, values in rows.items() if name != "task_index")
        return dict(zip(rows["task_index"], texts, strict=True))
    if lines.is_file():
        return {row["task_index"]: row["task"] for row in map(json.loads, lines.read_text().splitlines())}
    raise UsageError(f"{root} has neither meta/tasks.parquet nor meta/tasks.jsonl, so nothing says what was asked for")


def _load(data: DataSet, indices: Sequence[int], views: Views) -> list[Seen]:
    rows = data.rows.take(pa.array(indices)).to_pylist()
    pictures = {camera: _pictures(data, key, rows, views.image_size) for camera, key in data.keys.items()}
    found = []
    for number, row in enumerate(rows):
        where = f"{data.root}, episode {row['episode_index']} at {row['timestamp']:g} s"
        images = {camera: frames[number] for camera, frames in pictures.items()}
        state = checked_state(row.get(STATE, np.zeros(STATE_DIM)), where)
        observation = Observation(images, state, data.tasks[row["task_index"]])
        found.append((observation, f"{data.root.name}/{row['episode_index']}"))
    return found


def _pictures(data: DataSet, key: str, rows: Sequence[Mapping[str, Any]], size: int) -> list[np.ndarray]:
    if data.info["features"][key]["dtype"] == "image":
        return _stored(data, key, rows, size)
    places = [_film(data, key, row) for row in rows]
    found: dict[tuple[Path, int], np.ndarray] = {}
    for path in dict.fromkeys(path for path, _ in places):
        wanted = {frame for film, frame in places if film == path}
        for frame, picture in _frames(path, max(wanted)):
            if frame in wanted:
                found[path, frame] = fitted(picture, f"{path}, frame {frame}", size)
        if missing := sorted(frame for frame in wanted if (path, frame) not in found):
            raise UsageError(f"{path} ends before frame {missing[0]}; the data set is damaged")
    return [found[place] for place in places]


def _film(data: DataSet, key: str, row: Mapping[str, Any]) -> tuple[Path, int]:
    """File and frame of a row's picture."""
    episode, seconds = row["episode_index"], row["timestamp"]
    names = {"video_key": key, "episode_index": episode, "episode_chunk": episode // data.info.get("chunks_size", 1000)}
    if data.info["codebase_version"].startswith("v3"):
        place = data.episodes[episode]
        names |= {name: place[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        seconds += place[f"videos/{key}/from_timestamp"]
    return data.root / data.info["video_path"].format(**names), round(seconds * data.info["fps"])


def _episodes(root: Path) -> dict[int, dict[str, Any]]:
    rows = [row for path in sorted((root / "meta" / "episodes").glob("*/*.parquet"))
            for row in pq.read_table(path).to_pylist()]
    return {row["episode_index"]: row for row in rows}


def _frames(path: Path, last: int) -> Iterator[tuple[int, np.ndarray]]:
    """Numbers and pictures uint8[H, W, 3] of a film up to frame `last`; from the start, because seeking is inexact."""
    import imageio_ffmpeg

    if not path.is_file():
        raise UsageError(f"{path} is missing; the data set was not downloaded completely")
    reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24")
    try:
        width, height = next(reader)["size"]
        for number, frame in enumerate(reader):
            if number > last:
                break
            yield number, np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    except OSError as error:
        raise UsageError(f"{path} cannot be read as a film: {error}") from error
    finally:
        reader.close()


def _stored(data: DataSet, key: str, rows: Sequence[Mapping[str, Any]], size: int) -> list[np.ndarray]:
    """Pictures that are cells of the table: bytes of a file, or the path of one."""
    from PIL import Image

    cells: dict[tuple[int, float], Mapping[str, Any]] = {}
    wanted = [(row["episode_index"], row["timestamp"]) for row in rows]
    for path in sorted((data.root / "data").glob("*/*.parquet")):
        keys = pq.read_table(path, columns=["episode_index", "timestamp"]).to_pylist()
        chosen = [i for i, row in enumerate(keys) if (row["episode_index"], row["timestamp"]) in set(wanted)]
        if chosen:
            column = pq.read_table(path, columns=[key])[key].take(pa.array(chosen)).to_pylist()
            cells |= {(keys[i]["episode_index"], keys[i]["timestamp"]): cell
                      for i, cell in zip(chosen, column, strict=True)}
    found = []
    for place in wanted:
        where = f"{data.root}, episode {place[0]} at {place[1]:g} s, {key}"
        if cells[place].get("bytes"):
            with Image.open(io.BytesIO(cells[place]["bytes"])) as image:
                found.append(fitted(np.asarray(image.convert("RGB")), where, size))
        else:
            found.append(read_picture(data.root / cells[place]["path"], where, size))
    return found
