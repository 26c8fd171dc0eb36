"""Training resumes, and its data is what it says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from policies.pocket import train
from policies.pocket.model import PocketConfig
from policies.pocket.oft import load_network

SMALL = PocketConfig(image_size=64, vision_width=64, vision_layers=1, width=64, layers=1, heads=2, mlp=96)


@pytest.fixture
def samples(tmp_path, monkeypatch) -> train.Samples:
    """Two short episodes of noise on disk, and a network small enough to train in a second."""
    monkeypatch.setattr(train, "PocketConfig", lambda: SMALL)
    rng = np.random.default_rng(0)
    for episode in range(2):
        path = tmp_path / "data" / "round0" / "libero_object-0" / f"{episode}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, images=rng.integers(0, 256, (3, 2, 64, 64, 3), dtype=np.uint8),
                 states=rng.normal(size=(3, 8)).astype(np.float32), success=True,
                 chunks=rng.uniform(-1, 1, (3, 8, 7)).astype(np.float32),
                 truth=rng.normal(size=(3, 7)).astype(np.float32))
    return train.Samples(tmp_path / "data", {"libero_object-0": "pick up the milk"})


def weights(folder) -> dict[str, torch.Tensor]:
    """The saved network's tensors."""
    return load_network(folder / "weights").state_dict()


def test_a_run_that_was_cut_off_ends_where_an_uninterrupted_one_does(samples, tmp_path):
    recipe = train.Recipe(samples=16, batch=4)
    train.Trainer(samples, recipe, tmp_path / "whole", None).run(period=2)
    cut = train.Trainer(samples, recipe, tmp_path / "cut", None)
    for _ in range(2):
        for group in cut.optimizer.param_groups:
            group["lr"] = cut._rate(4)
        cut._one_step()
        cut.step += 1
    cut.save()
    train.Trainer(samples, recipe, tmp_path / "cut", None).run(period=2)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=2e-3, atol=2e-3)


def test_the_log_is_a_table_that_pandas_reads(samples, tmp_path):
    train.Trainer(samples, train.Recipe(samples=12, batch=4), tmp_path / "run", None).run(period=2)
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert list(log["samples"]) == [8, 12] and log["translation_l1"].between(0, 2).all()


def test_augmentation_follows_its_generator_and_keeps_shape_and_type():
    images = torch.randint(0, 256, (2, 2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    first, second = (train.augment(images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second) and first.dtype == torch.uint8 and first.shape == images.shape
    assert not torch.equal(first, images)


def test_a_folder_without_episodes_is_named_with_the_next_step(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m bench\.collect"):
        train.Samples(tmp_path, json.loads("{}"))
