"""What listens to an episode: the trace, the baseline's observations, the film.

The loop knows only `Recorder`; whatever is optional subscribes to it. Files are written when the episode has ended
without an error, before its record, so a record's files are always there.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.folder import write_bytes
from envs.types import Environment, Observation, StepResult

VIDEO_CAMERA, VIDEO_SIZE, VIDEO_EVERY = "agentview", 256, 2
"""Camera and side in pixels of a film, and control steps per frame."""


class Recorder(Protocol):
    """Hears of everything that happens in an episode."""

    name: str
    """What a record calls the time that it took."""

    def on_decision(self, step: int, observation: Observation, chunk: np.ndarray) -> None:
        """The policy looked before control step `step` and answered float32[H, 7]."""

    def on_step(self, step: int, decision: int | None, action: np.ndarray, result: StepResult) -> None:
        """Control step `step` applied `action`, which decision number `decision` gave; None held where no plan was."""

    def save(self) -> None:
        """The episode has ended in success or failure: keep what was heard. Never called after an error."""


class TraceRecorder:
    """Every action and the state that it led to, one row per control step, as Parquet."""

    name = "trace"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, float | None]] = []

    def on_decision(self, step: int, observation: Observation, chunk: np.ndarray) -> None:
        """A trace has the actions that were executed, not those that were planned."""

    def on_step(self, step: int, decision: int | None, action: np.ndarray, result: StepResult) -> None:
        """Add a row."""
        row: dict[str, float | None] = {"step": step, "decision": decision}
        row |= {f"a{i}": float(value) for i, value in enumerate(action)}
        row |= dict(zip(("x", "y", "z", "rx", "ry", "rz", "g0", "g1"), map(float, result.state), strict=True))
        self._rows.append(row | {"success": bool(result.success)})

    def save(self) -> None:
        """Write the table."""
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(self._rows), sink)
        write_bytes(self._path, sink.getvalue())


class ObservationRecorder:
    """What the policy saw at each decision and what it answered, for teacher-forced drift and for timing."""

    name = "observations"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: list[tuple[Observation, np.ndarray]] = []
        self._executed: list[int] = []

    def on_decision(self, step: int, observation: Observation, chunk: np.ndarray) -> None:
        """Keep the observation and the chunk."""
        self._seen.append((observation, chunk))
        self._executed.append(0)

    def on_step(self, step: int, decision: int | None, action: np.ndarray, result: StepResult) -> None:
        """Count how much of the chunk was executed."""
        if decision is not None:
            self._executed[decision] += 1

    def save(self) -> None:
        """Write `images/CAMERA` uint8[D,H,W,3], `states` float32[D,8], `chunks` float32[D,H,7], `executed` int64[D].

        What only a scripted expert may read is in `privileged/NAME`.
        """
        observations = [observation for observation, _ in self._seen]
        arrays = {f"images/{camera}": np.stack([o.images[camera] for o in observations])
                  for camera in observations[0].images}
        arrays |= {f"privileged/{name}": np.stack([o.privileged[name] for o in observations])
                   for name in observations[0].privileged or ()}
        arrays |= {"states": np.stack([o.state for o in observations]), "chunks": np.stack([c for _, c in self._seen]),
                   "executed": np.array(self._executed), "instruction": np.array(observations[0].instruction)}
        write_bytes(self._path, _zipped(arrays))


def _zipped(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What `numpy.load` reads; compressed in haste, for numpy's own level takes two to three times as long."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)
    return sink.getvalue()


class FilmRecorder:
    """One frame every `VIDEO_EVERY` control steps, H.264 in real time."""

    name = "film"

    def __init__(self, path: Path, env: Environment) -> None:
        self._path = path
        self._env = env
        self._frames: list[np.ndarray] = []

    def on_decision(self, step: int, observation: Observation, chunk: np.ndarray) -> None:
        """A film's frames do not depend on when the policy looks."""

    def on_step(self, step: int, decision: int | None, action: np.ndarray, result: StepResult) -> None:
        """Render, if it is time to."""
        if step % VIDEO_EVERY == 0 or result.success:
            self._frames.append(self._env.render(VIDEO_CAMERA, VIDEO_SIZE))

    def save(self) -> None:
        """Encode and write the film."""
        import imageio.v3 as iio

        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.part.mp4")
        iio.imwrite(draft, np.stack(self._frames), plugin="FFMPEG", codec="libx264", pixelformat="yuv420p",
                    fps=self._env.action_spec.control_hz / VIDEO_EVERY, macro_block_size=16)
        os.replace(draft, self._path)


def load_observations(path: Path) -> tuple[list[Observation], np.ndarray, np.ndarray]:
    """Observations, chunks float32[D,H,7] and executed counts int64[D] that an `ObservationRecorder` wrote."""
    with np.load(path) as data:
        cameras, truth = _named(data, "images/"), _named(data, "privileged/")
        states, instruction = data["states"], str(data["instruction"])
        observations = [Observation({c: images[i] for c, images in cameras.items()}, states[i], instruction,
                                    {name: values[i] for name, values in truth.items()} or None)
                        for i in range(len(states))]
        return observations, data["chunks"], data["executed"]


def _named(data: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): data[name] for name in data if name.startswith(prefix)}
