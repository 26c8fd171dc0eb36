"""Training learns, resumes, averages, and begins where it is told to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from policies.pocket.checkpoint import NETWORKS, load_network
from policies.pocket.frames import Frames
from policies.pocket.start import EMBEDDING, SHARED, known_context
from policies.pocket.train import Recipe, Trainer


@pytest.fixture
def frames(folder) -> Frames:
    return Frames([folder], 0)


@pytest.fixture
def trainer(frames, configs, tmp_path):
    """Trainer of a small network: head, name of the folder, and what of the recipe is not usual."""

    def build(head: str, name: str, start=None, **changes) -> Trainer:
        recipe = Recipe(head, **({"samples": 16, "batch": 4} | changes))
        return Trainer(frames, recipe, configs[head], tmp_path / name, start)

    return build


def state(run: Trainer) -> dict[str, torch.Tensor]:
    """All tensors of networks and optimizer."""
    parts = {"module": run.module, "average": run.average, "auxiliary": run.auxiliary}
    found = {f"{part}.{name}": tensor for part, m in parts.items() for name, tensor in m.state_dict().items()}
    for part, saved in run.optimizer.state_dict().items():
        for index, slots in saved["state"].items():
            found |= {f"optimizer.{part}.{index}.{name}": tensor for name, tensor in slots.items()}
    return found


class Cut(Exception):
    """Ends a run as a kill would."""


@pytest.mark.parametrize("head", NETWORKS)
def test_a_run_that_was_cut_off_ends_exactly_where_an_uninterrupted_one_does(head, trainer, tmp_path, monkeypatch):
    whole = trainer(head, "whole")
    whole.run(0.0, log_steps=1)
    cut = trainer(head, "cut")
    with monkeypatch.context() as patch:
        log = cut._log

        def cut_after_logging(*row):
            log(*row)
            if cut.step == 3:
                raise Cut

        patch.setattr(cut, "_log", cut_after_logging)
        with pytest.raises(Cut):
            cut.run(0.0, log_steps=1)
    resumed = trainer(head, "cut")
    assert resumed.step == 2
    resumed.run(0.0, log_steps=1)
    expected, actual = state(whole), state(resumed)
    assert expected.keys() == actual.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name
    logs = [pd.read_csv(tmp_path / name / "log.csv").drop(columns="samples_per_s") for name in ("whole", "cut")]
    pd.testing.assert_frame_equal(*logs)
    assert list(logs[0]["step"]) == [1, 2, 3, 4] and logs[0].notna().all(axis=None)


@pytest.mark.parametrize("head", NETWORKS)
def test_the_loss_falls(head, trainer, tmp_path):
    trainer(head, "run", samples=240, batch=8, lr=3e-3).run(log_steps=10)
    loss = pd.read_csv(tmp_path / "run" / "log.csv")["loss"]
    assert loss.iloc[-1] < 0.9 * loss.iloc[0]


def test_what_is_kept_is_the_average_of_the_weights(trainer, tmp_path):
    run = trainer("oft", "run")
    run.run()
    kept = load_network(tmp_path / "run" / "weights", "oft").state_dict()
    for name, tensor in run.average.state_dict().items():
        torch.testing.assert_close(kept[name], tensor.half().float(), rtol=0, atol=0)
    assert not torch.equal(run.average.state_dict()[EMBEDDING], run.module.state_dict()[EMBEDDING])


def test_units_of_state_and_action_come_from_the_samples_trained_on(trainer, frames):
    module = trainer("flow", "run").module
    chosen = frames.training
    torch.testing.assert_close(module.state_mean, frames.states[chosen].mean(0))
    torch.testing.assert_close(module.action_scale, frames.chunks[chosen].flatten(0, 1).std(0))


@pytest.mark.parametrize("head", ["token", "flow"])
def test_another_head_begins_with_the_backbone_of_a_run(head, trainer, tmp_path):
    first = trainer("oft", "first")
    first.run()
    second = trainer(head, "second", tmp_path / "first" / "last.pt").module.state_dict()
    for name, tensor in first.average.state_dict().items():
        if name.startswith(SHARED):
            assert torch.equal(second[name][:len(tensor)] if name == EMBEDDING else second[name], tensor), name
    from_weights = trainer(head, "third", tmp_path / "first" / "weights").module.state_dict()
    torch.testing.assert_close(from_weights["slots"], second["slots"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("head", ["oft", "flow"])
def test_a_frozen_backbone_stays_and_its_states_are_computed_once(head, trainer, tmp_path, monkeypatch):
    run = trainer(head, "run", freeze=True)
    before = {name: tensor.clone() for name, tensor in run.module.state_dict().items()}
    module = run.module
    expected = module.context(**run.frames.batch(torch.tensor([5])).inputs()).detach()
    np.testing.assert_allclose(run.context[5:6], expected, rtol=0.05, atol=0.05)
    monkeypatch.setattr(module, "context", None)
    run.run()
    changed = {name for name, tensor in run.module.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed and not any(name.startswith(SHARED) for name in changed)
    files = sorted((tmp_path / "run").glob("context-*.npy"))
    trainer(head, "run", freeze=True)
    assert len(files) == 1 and sorted((tmp_path / "run").glob("context-*")) == files


def test_threads_that_share_a_backbones_states_write_each_to_its_row(frames, configs, tmp_path):
    module, cpu = NETWORKS["oft"][0](configs["oft"]), torch.device("cpu")
    expected = known_context(module, frames, cpu, tmp_path / "one.npy")
    actual = known_context(module, frames, cpu, tmp_path / "two.npy", threads=2, batch=3)
    assert len(expected) > 6
    np.testing.assert_allclose(actual, expected, rtol=0.05, atol=0.05)


def test_speech_has_no_part_that_could_be_trained_alone(trainer):
    with pytest.raises(ValueError, match="head 'token' has no part outside of the backbone"):
        trainer("token", "run", freeze=True).run()


def test_a_folder_with_a_run_of_another_recipe_is_refused(trainer):
    trainer("oft", "run").run()
    with pytest.raises(ValueError, match="another samples, lr; .* --start"):
        trainer("oft", "run", samples=32, lr=1.0)


def test_without_held_out_episodes_the_log_says_nothing_about_them(trainer, frames, tmp_path):
    frames.validation = frames.validation[:0]
    trainer("oft", "run").run()
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert log["val_loss"].isna().all() and log["loss"].notna().all()


@pytest.mark.parametrize("head", ("oft", "token"))
def test_two_threads_share_a_batch_and_go_where_one_goes(head, frames, configs, tmp_path):
    runs = [Trainer(frames, Recipe(head, 16, batch=5), configs[head], tmp_path / str(count), None, threads=count)
            for count in (1, 2)]
    found = []
    for run in runs:
        batch, context, generator = run._prepare(0)
        losses = run.team.gradients(run._weighed, batch, context, generator)
        found.append((losses, {n: p.grad for n, p in run.module.named_parameters() if p.grad is not None}))
    (one, expected), (two, actual) = found
    np.testing.assert_allclose(two, one, rtol=0.02)
    assert expected.keys() == actual.keys()
    for name, gradient in expected.items():
        # The networks may compute in bfloat16.
        assert (actual[name] - gradient).norm() <= 0.1 * gradient.norm() + 1e-6, name
