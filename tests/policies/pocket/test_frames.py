"""Sample folders: what is read, held out, drawn, and changed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from policies.pocket.frames import TEMPERATURE, TRUTH_SCALE, Frames, augment


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rows_are_those_of_the_files_from_memory_and_from_disk(folder):
    rows = torch.tensor([119, 0, 7])
    for ram_bytes, in_memory in ((10**9, True), (0, False)):
        frames = Frames([folder], ram_bytes)
        assert frames.in_memory == in_memory and len(frames) == 120
        batch = frames.batch(rows)
        assert np.array_equal(batch.images, np.load(folder / "images.npy")[rows])
        assert np.array_equal(batch.chunks, np.load(folder / "chunks.npy")[rows])
        np.testing.assert_allclose(batch.focus[:, :6], np.load(folder / "focus.npy")[rows, :6] / TRUTH_SCALE, rtol=1e-6)


def test_a_parent_stands_for_all_folders_below_it_and_each_keeps_its_own_instructions(folder):
    shutil.copytree(folder, folder.parent / "round1")
    (folder.parent / "round1" / "instructions.json").write_text(json.dumps(["turn on the stove", "pick up the milk"]))
    frames = Frames([folder.parent], 0)
    assert [path.name for path in frames.folders] == ["round0", "round1"] and len(frames) == 240
    assert len(frames.instructions) == 3
    assert frames.instructions[frames.task[0]] != frames.instructions[frames.task[120]] == "turn on the stove"
    assert np.array_equal(frames.images(torch.tensor([121]))[0], np.load(folder / "images.npy")[1])


def test_a_folder_that_is_still_being_written_is_left_out(folder):
    shutil.copytree(folder, folder.parent / ".round1.part")
    assert Frames([folder.parent], 0).folders == [folder]


def test_whole_episodes_are_held_out_and_never_drawn(folder):
    frames, episodes = Frames([folder], 0), np.load(folder / "episode.npy")
    held = set(episodes[frames.validation])
    assert 0 < len(held) < 10 and not held & set(episodes[frames.training])
    assert not set(frames.draw(2000, seeded(0)).tolist()) & set(frames.validation.tolist())


def test_a_task_is_drawn_in_proportion_to_a_power_of_its_samples(folder):
    frames = Frames([folder], 0)
    drawn = torch.bincount(frames.task[frames.draw(4000, seeded(0))]) / 4000
    there = torch.bincount(frames.task[frames.training]).float() ** TEMPERATURE
    torch.testing.assert_close(drawn, there / there.sum(), atol=0.03, rtol=0)


def test_columns_of_padding_that_all_rows_share_are_not_computed(folder, make):
    batch, module = Frames([folder], 0).batch(torch.arange(8)), make("oft").module
    inputs = batch.inputs()
    assert inputs["words"].shape[1] == inputs["mask"].sum(1).max() < batch.words.shape[1]
    with torch.no_grad():
        padded = module(**(inputs | {"words": batch.words, "mask": batch.mask}))
        torch.testing.assert_close(module(**inputs), padded, atol=1e-5, rtol=1e-4)


def test_augmentation_follows_its_generator_and_keeps_shape_and_type():
    images = torch.randint(0, 256, (2, 2, 8, 8, 3), dtype=torch.uint8, generator=seeded(1))
    first, second = (augment(images, 2, seeded(5)) for _ in range(2))
    assert torch.equal(first, second) and first.dtype == torch.uint8 and first.shape == images.shape
    assert not torch.equal(first, images)


def test_a_picture_moves_by_at_most_the_shift():
    images = torch.zeros(64, 1, 9, 9, 3, dtype=torch.uint8)
    images[:, :, 4, 4] = 255
    bright = augment(images, 2, seeded(0))[:, 0].sum(-1).flatten(1).argmax(1)
    rows, columns = bright // 9, bright % 9
    assert {*rows.tolist()} == {*columns.tolist()} == {2, 3, 4, 5, 6}


def test_a_folder_without_samples_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images.npy in or below"):
        Frames([tmp_path], 0)


def test_arrays_that_disagree_are_named(folder):
    np.save(folder / "states.npy", np.zeros((3, 8), np.float32))
    with pytest.raises(ValueError, match=r"states\.npy has 3 rows, images\.npy has 120"):
        Frames([folder], 0)


def test_a_broken_number_is_refused(folder):
    np.save(folder / "focus.npy", np.full((120, 7), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"focus\.npy .* NaN"):
        Frames([folder], 0)
