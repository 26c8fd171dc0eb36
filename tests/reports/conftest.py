"""A small run folder on disk, every figure of which can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pandas as pd
import pytest

FP, RTN, QVLA = "fp00", "rtn4", "qvla"
EPISODES = [("libero_object", 0, 0), ("libero_object", 0, 1), ("libero_object", 1, 0), ("libero_object", 1, 1),
            ("libero_spatial", 0, 0), ("libero_spatial", 0, 1)]
OUTCOMES = {
    FP: [True, True, True, False, True, True],
    RTN: [False, True, True, True, False, True],
    QVLA: [True, True, True, True, True, True],
}
STEPS = {True: 20, False: 30}


def header() -> dict:
    method = {FP: "fp", RTN: "rtn:bits=4", QVLA: "qvla"}
    return {
        "schema_version": 1, "spec": {"trials": 2}, "episodes_per_variant": len(EPISODES),
        "variants": [{"variant_id": v, "policy": "pocket", "method": method[v], "baseline": v == FP}
                     for v in (RTN, FP, QVLA)],
        "assets": {"kind": "builtin", "digest": "sha256:abc"}, "protocol": {"name": "oft", "replan_every": 8},
        "machine": {"cpu": "Two <fast> cores", "cores": 2}, "packages": {"numpy": "2.4.0"}, "commit": "0123abc",
        "dirty": False, "created": "2026-01-02T03:04:05Z", "renderer": "osmesa",
    }


def drift(variant: str, index: int) -> dict | None:
    """Decisions 1, 2, 3, ... so that a weighted mean differs from a plain one."""
    if variant == FP:
        return None
    return {"teacher_forced": {"decisions": index + 1, "actions": 8 * (index + 1),
                               "translation_mm": [float(index), 2.0, 4.0], "rotation_deg": [0.1, 0.2, 0.3],
                               "gripper_flips": 2, "l2_mean": 0.05, "cumulative_translation_mm": 12.0},
            "first_divergence_step": 5 + index if variant == RTN or index < 2 else None,
            "divergence_threshold_mm": 10.0, "final_distance_mm": 30.0}


def record(variant: str, index: int) -> dict:
    suite, task, init = EPISODES[index]
    success = OUTCOMES[variant][index]
    return {"key": {"variant_id": variant, "suite": suite, "task": task, "init_state": init, "seed": 0},
            "task_name": f"task_{task}", "instruction": f"pick up <object {task}> | and put it in the basket",
            "outcome": "success" if success else "failure", "reason": None, "steps": STEPS[success],
            "latencies_ms": [10.0, 20.0, 30.0], "wall_s": 1.0, "drift": drift(variant, index),
            "peak_rss_bytes": 1000, "trace": f"traces/{variant}/{suite}-{task}-{init}-0.parquet",
            "finished": "2026-01-02T03:05:00Z", "protocol": "oft"}


def audit(variant: str) -> dict:
    full = 24_000_000
    part = {FP: 1.0, RTN: 0.25, QVLA: 0.3}[variant]
    return {"method": variant, "config": {}, "backend": "none" if variant == FP else "cpu",
            "integer_arithmetic": variant != FP, "calibration_digest": None if variant != QVLA else "sha256:cal",
            "storage_bytes_full": full, "storage_bytes": int(full * part), "held_bytes_full": 2 * full,
            "held_bytes": int(2 * full * part), "component_bytes_full": 20_000_000,
            "component_bytes": int(20_000_000 * part), "mean_bits": 16 * part, "mean_bits_per_weight": 16 * part,
            "layers": []}


def timings() -> dict:
    return {"device": "cpu", "threads": 1, "rounds": 3,
            "variants": {v: {"median_ms": 11.0, "p95_ms": 11.9, "samples_ms": [10.0, 12.0]} for v in (FP, QVLA)},
            "speedup": {QVLA: {"median": 1.31, "low": 1.25, "high": 1.37}, RTN: {"reason": "no integer kernel"}}}


def write_trace(folder: Path, rec: dict) -> None:
    """The arm moves 1 mm a step along x; a quantized one 1 mm a step along y too, from step 5 on."""
    steps = np.arange(rec["steps"])
    aside = np.maximum(steps - 4, 0) * 0.001 * (rec["key"]["variant_id"] != FP)
    frame = pd.DataFrame({"step": steps, "x": steps * 0.001, "y": aside, "z": 1.0})
    path = folder / rec["trace"]
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)


def write_frames(folder: Path, rec: dict, size: int = 64) -> None:
    key = rec["key"]
    path = folder / "frames" / key["variant_id"] / f"{key['suite']}-{key['task']}-{key['init_state']}-0.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    with imageio.get_writer(path, "ffmpeg", fps=10, codec="libx264", pixelformat="yuv420p") as writer:
        taken = [*range(0, rec["steps"], 2), *([rec["steps"] - 1] if rec["outcome"] == "success" else [])]
        for index in range(len(taken)):
            picture = np.full((size, size, 3), 90, np.uint8)
            picture[:, : 1 + index * size // 20] = (60, 120, 60 if key["variant_id"] == FP else 160)
            writer.append_data(picture)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A complete run of three variants, without traces and frames."""
    folder = tmp_path / "demo"
    (folder / "audits").mkdir(parents=True)
    (folder / "header.json").write_text(json.dumps(header()))
    for variant in OUTCOMES:
        (folder / "audits" / f"{variant}.json").write_text(json.dumps(audit(variant)))
    lines = [json.dumps(record(v, i)) for i in range(len(EPISODES)) for v in OUTCOMES]
    (folder / "episodes.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture
def timed_folder(run_folder: Path) -> Path:
    """The same with `timings/cpu.json`."""
    (run_folder / "timings").mkdir()
    (run_folder / "timings" / "cpu.json").write_text(json.dumps(timings()))
    return run_folder


@pytest.fixture
def filmed_folder(run_folder: Path) -> Path:
    """The same with traces and frames of the first episode of task 0 of libero_object, for fp and rtn only."""
    for variant in (FP, RTN):
        rec = record(variant, 0)
        write_trace(run_folder, rec)
        write_frames(run_folder, rec)
    return run_folder


@pytest.fixture
def append():
    """Append records (or raw text) to a run's episodes.jsonl."""
    def write(folder: Path, *records: dict | str) -> None:
        with (folder / "episodes.jsonl").open("a") as file:
            for rec in records:
                file.write(rec if isinstance(rec, str) else json.dumps(rec) + "\n")
    return write


@pytest.fixture
def make_record():
    """`make_record(variant_id, index, **changes)`: a record, with some of its fields replaced."""
    def make(variant: str, index: int, **changes: object) -> dict:
        return record(variant, index) | changes
    return make
