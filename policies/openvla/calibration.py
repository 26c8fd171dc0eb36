"""Observations that methods may calibrate on; checkpoints bring none, so they are recorded once per suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from envs.types import Observation
from policies.errors import CalibrationMissing

RECORDED = Path("calibration")
"""Folder in which a recording of each suite is looked for."""


def stored_observations(
    folder: Path | None, suite: str | None, cameras: tuple[str, ...]
) -> tuple[list[Observation], list[str]]:
    """Observations and the name of the episode of each, from `calibration.npz` of the checkpoint, or of the suite.

    The file has `images` uint8[N, C, S, S, 3] with their `cameras`, `states` float32[N, 8], `instructions` and
    `episodes`. Raises `CalibrationMissing` that says how to record one.
    """
    places = [] if folder is None else [folder / "calibration.npz"]
    places += [] if suite is None else [RECORDED / f"{suite}.npz"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise CalibrationMissing(
            f"no observations to calibrate on: there is no {' and no '.join(map(str, places)) or 'recording'}; record "
            f"some with `python -m bench.calibration --suite {suite or 'SUITE'}`, or quantize with --calibration")
    with np.load(path, allow_pickle=False) as data:
        order = [str(name) for name in data["cameras"]]
        absent = [camera for camera in cameras if camera not in order]
        if absent:
            raise CalibrationMissing(f"{path} has pictures of {', '.join(order)}, none of {absent[0]!r}")
        observations = [
            Observation(dict(zip(order, images, strict=True)), state, str(text))
            for images, state, text in zip(data["images"], data["states"], data["instructions"], strict=True)]
        return observations, [str(name) for name in data["episodes"]]
