from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bench.errors import UsageError
from bench.sources import jsonl
from bench.sources.source import Views
from tests.bench.sources.conftest import STATE

ONE, TWO = Views(("agentview",), 32, {}), Views(("agentview", "wrist"), 32, {"wrist": "hand"})


def test_a_line_becomes_an_observation(lines):
    found = jsonl.source(lines, ONE)
    assert found.count == 12
    (observation, episode), _ = found.load([1, 3])
    np.testing.assert_array_equal(observation.images["agentview"], np.asarray(Image.open(lines.parent / "1.png")))
    assert observation.instruction == "lift the blue cube" and episode == "lines.jsonl/2"
    np.testing.assert_array_equal(observation.state, np.float32(STATE))


def test_pictures_by_camera_may_have_other_names_and_larger_sizes(tmp_path, lines):
    Image.new("RGB", (96, 96), (200, 10, 10)).save(tmp_path / "large.jpg", quality=100)
    line = {"images": {"agentview": "large.jpg", "hand": "0.png"}, "prompt": "x", "state": STATE, "episode": "mine"}
    path = tmp_path / "two.jsonl"
    path.write_text(json.dumps(line) + "\n\n")
    ((observation, episode),) = jsonl.source(path, TWO).load([0])
    assert observation.images["agentview"].shape == (32, 32, 3) and episode == "mine"
    assert np.abs(observation.images["agentview"].mean((0, 1)) - [200, 10, 10]).max() < 4


def test_a_policy_without_proprioception_needs_none(lines):
    lines.write_text(json.dumps({"image": "0.png", "text": "x"}))
    ((observation, _),) = jsonl.source(lines, Views(("agentview",), 32, {}, state=False)).load([0])
    assert not observation.state.any()


GOOD = {"image": "0.png", "text": "x", "state": STATE}
BAD = {
    "not json": ("{", "line 1: not JSON"),
    "a list": ("[]", "line 1: must be an object"),
    "no text": ({"image": "0.png", "state": STATE}, "needs text or prompt or instruction, once; it has image, state"),
    "two texts": (GOOD | {"prompt": "y"}, "needs text or prompt or instruction, once"),
    "a number as text": (GOOD | {"text": 3}, "the text is 3, not a string"),
    "no state": ({"image": "0.png", "text": "x"}, "needs state, once"),
    "a short state": (GOOD | {"state": [1, 2]}, r"state has shape \(2,\); it must be 8 finite numbers"),
    "words as state": (GOOD | {"state": ["a"] * 8}, "not a list of numbers"),
    "another camera": (GOOD | {"image": {"front": "0.png"}}, "image must map agentview to paths"),
}


@pytest.mark.parametrize(("line", "message"), BAD.values(), ids=BAD)
def test_a_line_that_cannot_be_used_is_an_error_that_names_it(line, message, lines):
    lines.write_text(line if isinstance(line, str) else json.dumps(line))
    with pytest.raises(UsageError, match=message):
        jsonl.source(lines, ONE)


def test_a_picture_that_cannot_be_shown_is_an_error_that_names_its_line(lines):
    Image.new("RGB", (40, 30)).save(lines.parent / "wide.png")
    (lines.parent / "text.png").write_text("no picture")
    for name, message in (("nothing.png", "line 1: there is no image .*nothing.png"),
                          ("wide.png", "40 x 30 pixels; policies here see square ones"),
                          ("text.png", "is not an image that can be read")):
        lines.write_text(json.dumps(GOOD | {"image": name}))
        with pytest.raises(UsageError, match=message):
            jsonl.source(lines, ONE).load([0])
