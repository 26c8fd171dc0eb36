"""The recipe of the pocket policies, and the calibration observations that a checkpoint ships."""

from __future__ import annotations

import json
from pathlib import Path

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


@pytest.fixture
def commands(monkeypatch):
    """What would have been run, each as (module, option -> values)."""
    made = []

    def note(module, *arguments):
        options = {}
        for argument in map(str, arguments):
            if argument.startswith("--"):
                options[argument] = last = []
            else:
                last.append(argument)
        made.append((module, options))
        if "--out" in options:  # the trainer makes its folder
            Path(*options["--out"]).mkdir(exist_ok=True)

    monkeypatch.setattr(pocket, "_python", note)
    monkeypatch.setattr(pocket, "drawn", lambda data, number: [data / f"frames{number}"])
    return made


def test_each_round_is_driven_by_the_expert_or_by_the_weights_of_the_round_before(commands, tmp_path):
    weights, start = pocket.train_rounds(tmp_path, 2, False)
    last = len(pocket.ROUNDS) - 1
    assert (weights, start) == (tmp_path / f"stage{last}" / "weights", tmp_path / f"stage{last}" / "last.pt")
    drivers = [options["--driver"] for module, options in commands if module == "bench.collect"]
    assert drivers == [["expert"] if plan.expert else [f"pocket-oft:{tmp_path}/stage{number - 1}/weights"]
                       for number, plan in enumerate(pocket.ROUNDS)]


def test_a_round_trains_on_what_was_collected_since_its_first_and_begins_where_the_one_before_ended(commands, tmp_path):
    pocket.train_rounds(tmp_path, 2, False)
    trained = [options for module, options in commands if module == "policies.pocket.train"]
    for number, (plan, options) in enumerate(zip(pocket.ROUNDS, trained, strict=True)):
        assert plan.expert or plan.first < number, "a policy's own states come beside an expert's"
        assert options["--frames"] == [f"{tmp_path}/frames{earlier}" for earlier in range(plan.first, number + 1)]
        assert options.get("--start") == ([f"{tmp_path}/stage{number - 1}/last.pt"] if number else None)


def test_a_stage_that_is_done_is_not_trained_again(commands, tmp_path):
    (tmp_path / "stage0").mkdir()
    (tmp_path / "stage0" / "done").touch()
    pocket.train_rounds(tmp_path, 2, False)
    assert sum(module == "policies.pocket.train" for module, _ in commands) == len(pocket.ROUNDS) - 1


@pytest.mark.parametrize("head", pocket.HEADS)
def test_the_other_heads_begin_at_the_backbone_and_go_on_where_they_ended(commands, tmp_path, head):
    stages = pocket.HEADS[head]
    last = tmp_path / f"head-{head}-{len(stages) - 1}"
    assert pocket.train_head(tmp_path, head, tmp_path / "last.pt") == last / "weights"
    earlier = [tmp_path / f"head-{head}-{number}" for number in range(len(stages) - 1)]
    starts = [folder / "last.pt" for folder in (tmp_path, *earlier)]
    for stage, start, (_, options) in zip(stages, starts, commands, strict=True):
        assert options["--start"] == [str(start)] and options["--head"] == [head]
        assert ("--freeze" in options) == stage.freeze
    assert len(commands) == len(stages)


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
