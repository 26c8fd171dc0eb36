"""Pictures, a JSON Lines file and LeRobot data sets of noise, in the size that the toy policy sees."""

from __future__ import annotations

import io
import json
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

STATE = [0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.04, -0.04]
SIZE, LENGTH, EPISODES = 32, 10, 2


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shade(episode: int, frame: int) -> np.ndarray:
    """A picture uint8[32, 32, 3] whose brightness says which it is."""
    return np.full((SIZE, SIZE, 3), 20 + 100 * episode + 10 * frame, dtype=np.uint8)


@pytest.fixture
def lines(tmp_path) -> Path:
    """Twelve lines for the toy policy."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append({"image": f"{number}.png", "text": f"lift the {('red', 'blue')[number % 2]} cube", "state": STATE})
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@pytest.fixture(params=["v3.0", "v2.1", "images"])
def dataset(request, tmp_path) -> Path:
    """Two episodes of ten frames; version 3 and 2.1 have films, "images" is of version 3 with pictures in the table."""
    root, version = tmp_path / "set", "v2.1" if request.param == "v2.1" else "v3.0"
    (root / "meta").mkdir(parents=True)
    key = "observation.images.front"
    features = {"observation.state": {"dtype": "float32", "shape": [8]},
                key: {"dtype": "image" if request.param == "images" else "video", "shape": [SIZE, SIZE, 3]}}
    paths = {"v3.0": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
             "v2.1": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"}
    info = {"codebase_version": version, "fps": 20, "features": features, "video_path": paths[version],
            "chunks_size": 1000}
    (root / "meta" / "info.json").write_text(json.dumps(info))
    for episode in range(EPISODES):
        rows = {"observation.state": [STATE] * LENGTH, "task_index": [episode] * LENGTH,
                "episode_index": [episode] * LENGTH, "timestamp": [frame / 20 for frame in range(LENGTH)]}
        if request.param == "images":
            rows[key] = [{"bytes": png(shade(episode, frame)), "path": None} for frame in range(LENGTH)]
        name = {"v3.0": f"file-{episode:03d}.parquet", "v2.1": f"episode_{episode:06d}.parquet"}[version]
        (root / "data" / "chunk-000").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows), root / "data" / "chunk-000" / name)
    texts = ["lift the red cube", "lift the blue cube"]
    if version == "v2.1":
        (root / "meta" / "tasks.jsonl").write_text(
            "\n".join(json.dumps({"task_index": i, "task": text}) for i, text in enumerate(texts)))
        for episode in range(EPISODES):
            film(root / paths[version].format(episode_chunk=0, video_key=key, episode_index=episode),
                 [shade(episode, frame) for frame in range(LENGTH)])
        return root
    pq.write_table(pa.table({"task_index": [0, 1], "task": texts}), root / "meta" / "tasks.parquet")
    if request.param == "v3.0":
        episodes = [{"episode_index": episode, f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0,
                     f"videos/{key}/from_timestamp": episode * LENGTH / 20} for episode in range(EPISODES)]
        (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(episodes), root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
        film(root / paths[version].format(video_key=key, chunk_index=0, file_index=0),
             [shade(episode, frame) for episode in range(EPISODES) for frame in range(LENGTH)])
    return root


def png(picture: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "PNG")
    return sink.getvalue()


def film(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = imageio_ffmpeg.write_frames(str(path), (SIZE, SIZE), fps=20, codec="libx264", quality=None,
                                         output_params=["-crf", "10"], macro_block_size=16)
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
