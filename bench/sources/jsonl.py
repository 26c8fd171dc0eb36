"""Calibration observations from a JSON Lines file of image paths and prompts.

    {"image": {"agentview": "0001.png", "wrist": "0001w.png"}, "text": "pick up the milk", "state": [8 numbers]}

`image` is a path alone for a policy with one camera, and one that reads no proprioception needs no `state`. Paths are
relative to the file. `prompt` and `instruction` are other names of `text`; `episode` names where the line comes from. A
line that cannot be used is an error, not skipped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.sources.pictures import checked_state, read_picture
from bench.sources.source import Seen, Source, Views
from envs.types import STATE_DIM, Observation

TEXT = ("text", "prompt", "instruction")
"""Names of the instruction."""
IMAGE = ("image", "images")
"""Names of the picture, or of the pictures by camera."""


@dataclass(frozen=True)
class Line:
    """One line, checked but for its pictures."""

    where: str
    """File and number of the line."""
    images: dict[str, Path]
    """Camera -> file."""
    data: dict[str, Any]
    """The line as it is."""


def source(path: Path, views: Views) -> Source:
    """The lines of a file. Raises `UsageError` for the first that a policy with these views could not be shown."""
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if text.strip():
            lines.append(_line(text, f"{path}, line {number}", path.parent, views))

    def load(indices: Sequence[int]) -> list[Seen]:
        return [_seen(lines[index], path.name, views) for index in indices]

    return Source(str(path), len(lines), load)


def _line(text: str, where: str, folder: Path, views: Views) -> Line:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{where}: must be an object with image, text and state, got {text[:40]!r}")
    if "state" not in data and not views.state:
        data["state"] = [0.0] * STATE_DIM
    for names in (TEXT, IMAGE, ("state",)):
        if sum(name in data for name in names) != 1:
            raise UsageError(f"{where}: needs {' or '.join(names)}, once; it has {', '.join(data) or 'nothing'}")
    if not isinstance(_one(data, TEXT), str):
        raise UsageError(f"{where}: the text is {_one(data, TEXT)!r}, not a string")
    images = _one(data, IMAGE)
    if isinstance(images, str) and len(views.cameras) == 1:
        images = {views.cameras[0]: images}
    wanted = {camera: views.keys.get(camera, camera) for camera in views.cameras}
    missing = [key for key in wanted.values() if not isinstance(images, dict) or not isinstance(images.get(key), str)]
    if missing:
        raise UsageError(f"{where}: image must map {', '.join(wanted.values())} to paths, got {images!r}; --cameras "
                         "maps other names to the policy's cameras")
    checked_state(data["state"], where)
    return Line(where, {camera: folder / images[key] for camera, key in wanted.items()}, data)


def _one(data: dict[str, Any], names: Sequence[str]) -> Any:
    return next(data[name] for name in names if name in data)


def _seen(line: Line, file: str, views: Views) -> Seen:
    pictures = {camera: read_picture(path, line.where, views.image_size) for camera, path in line.images.items()}
    observation = Observation(pictures, checked_state(line.data["state"], line.where), _one(line.data, TEXT))
    return observation, str(line.data.get("episode", f"{file}/{line.where.rpartition(' ')[2]}"))
