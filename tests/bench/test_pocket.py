"""The calibration observations that a checkpoint ships."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench import pocket


def folder(root, name, episodes):
    made = root / "round0" / name
    made.mkdir(parents=True)
    rows = episodes * 5
    np.save(made / "images.npy", np.arange(rows, dtype=np.uint8).reshape(rows, 1, 1, 1, 1))
    np.save(made / "states.npy", np.tile(np.arange(rows, dtype=np.float32)[:, None], 8))
    np.save(made / "text.npy", np.zeros(rows, np.int32))
    np.save(made / "episode.npy", np.repeat(np.arange(episodes, dtype=np.int32), 5))
    (made / "instructions.json").write_text(json.dumps([f"do {name}"]))
    return made


def test_calibration_is_spread_over_tasks_episodes_and_their_parts(tmp_path):
    folders = [folder(tmp_path, name, 40) for name in ("libero_object-0", "libero_object-1", "libero_goal-0")]
    pocket.write_calibration(folders, tmp_path / "calibration.npz")
    with np.load(tmp_path / "calibration.npz") as data:
        assert len(data["images"]) == pocket.CALIBRATION_OBSERVATIONS == 96 and data["states"].shape == (96, 8)
        assert {text: (data["instructions"] == text).sum() for text in set(data["instructions"])} \
            == {"do libero_object-0": 32, "do libero_object-1": 32, "do libero_goal-0": 32}
        assert len(set(data["episodes"])) == 96 and data["episodes"][0] == "round0/libero_object-0/0"
        assert len(set(data["images"].reshape(-1) % 5)) == 5


def test_calibration_without_decisions_names_the_next_step(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m bench\.frames"):
        pocket.write_calibration([], tmp_path / "calibration.npz")
