from __future__ import annotations

import numpy as np
import pytest

from bench.calibration import main


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_observations_are_of_drawn_placements_and_of_every_phase(here, capsys):
    assert main(["--suite", "toy", "--size", "32", "--episodes", "2", "--kept", "3", "--quiet"]) == 0
    with np.load(here / "calibration" / "toy.npz") as data:
        count = len(data["states"])
        assert data["images"].shape == (count, 2, 32, 32, 3) and data["cameras"].tolist() == ["agentview", "wrist"]
        episodes, counts = np.unique(data["episodes"], return_counts=True)
        assert all("/drawn-" in name for name in episodes) and counts.tolist() == [3] * len(episodes)
        first, _, last = data["states"][:3]
        assert np.abs(first[:3] - last[:3]).max() > 0.02
    assert f"{count} observations" in capsys.readouterr().out
    assert main(["--suite", "toy", "--quiet"]) == 2 and "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "said"), [
    (["--suite", "toi"], "toy"), (["--suite", "toy", "--kept", "0"], "1 or more"),
    (["--suite", "toy", "--tasks", "99"], "indices 0.."),
])
def test_what_is_not_legal_is_said(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
