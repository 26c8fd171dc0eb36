from __future__ import annotations

import re

import numpy as np
import pytest

from bench import golden
from bench.selftest import selftest
from envs.registry import SUITES
from envs.toy import open_task


@pytest.fixture(scope="module")
def seen() -> dict[str, np.ndarray]:
    return dict(golden.scene_picture(open_task("toy", 0, golden.IMAGE_SIZE, "none", False)).images)


@pytest.fixture(scope="module")
def wanted() -> dict[str, np.ndarray]:
    return golden.golden("toy", "none")


def test_every_suite_has_a_golden_picture_of_its_default_assets():
    for suite, entry in SUITES.items():
        pictures = golden.golden(suite, entry.assets[0])
        assert {c: p.shape for c, p in pictures.items()} == dict.fromkeys(golden.CAMERAS, (16, 16, 3))
    assert golden.golden("libero_object", "official") is None


def test_the_toy_world_looks_as_it_did(seen, wanted):
    assert golden.differences(seen, wanted) == []


def test_a_renderers_rounding_is_no_difference(seen, wanted):
    noise = np.random.default_rng(0).integers(-20, 21, size=(128, 128, 3))
    noisy = {c: np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8) for c, image in seen.items()}
    assert golden.differences(noisy, wanted) == []


@pytest.mark.parametrize(("change", "state"), [
    (lambda image: image[::-1], "upside down"), (lambda image: image[:, ::-1], "mirrored"),
    (lambda image: image[::-1, ::-1], "turned by 180 degrees"), (np.zeros_like, r"one colour, \[0, 0, 0\]"),
    (lambda image: (image * 0.7).astype(np.uint8), r"differs by .* of 255 on average \(legal 3.0\), most in row"),
])
def test_what_sets_a_picture_apart_is_said(seen, wanted, change, state):
    (text,) = golden.differences({**seen, "agentview": change(seen["agentview"])}, wanted)
    assert text.startswith("agentview ")
    assert re.search(state, text)


def test_recording_again_gives_the_same_file(tmp_path, monkeypatch):
    before = (golden.FOLDER / "toy-none.png").read_bytes()
    monkeypatch.setattr(golden, "FOLDER", tmp_path / "new")
    assert golden.record("toy", "none").read_bytes() == before


@pytest.mark.libero
def test_libero_looks_as_it_did_and_its_expert_succeeds():
    assert [check.state for check in selftest("libero_object", "builtin")] == ["ok", "ok"]
    assert [check.state for check in selftest("libero_goal", "builtin")] == ["ok", "ok"]
