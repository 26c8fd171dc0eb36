from __future__ import annotations

import numpy as np
import pytest
from openpi_client import image_tools

from envs.toy import open_task
from envs.types import Observation
from policies.remote.message import CAMERA_KEYS, chunk, decode, encode, fitted
from policies.remote.wire import WireError, pack, unpack

CAMERAS = tuple(CAMERA_KEYS)


@pytest.fixture
def observation() -> Observation:
    return open_task("toy", 0, 32, "none", privileged=False).reset(0, 0)


@pytest.fixture
def message(observation) -> dict:
    return encode(observation, None)


def test_what_is_sent_arrives_unchanged_in_every_bit(observation, message):
    arrived = decode(unpack(pack(message)), CAMERAS, 32)
    assert arrived.instruction == observation.instruction and np.array_equal(arrived.state, observation.state)
    assert all(np.array_equal(arrived.images[camera], observation.images[camera]) for camera in CAMERAS)


def test_pictures_travel_as_libero_s_raw_ones_turned_by_180_degrees(observation, message):
    upside_down = observation.images["agentview"][::-1]
    assert np.array_equal(message["observation/image"], upside_down[::-1, ::-1])


@pytest.mark.parametrize("shape", [(256, 256), (480, 640), (640, 480), (224, 224), (3, 500), (1, 1)])
def test_pictures_are_fitted_as_openpi_s_client_does(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.array_equal(fitted(image, 224), image_tools.resize_with_pad(image, 224, 224))


def test_floats_and_channels_first_are_understood_as_openpi_s_servers_do(message):
    image = message["observation/image"]
    message["observation/image"] = np.float32(image / 255).transpose(2, 0, 1)
    arrived = decode(message, CAMERAS, 32).images["agentview"][:, ::-1]
    assert np.abs(arrived.astype(int) - image).max() <= 1


@pytest.mark.parametrize(("key", "value", "reason"), [
    ("observation/image", np.zeros((4, 4), np.uint8), "must be a picture"),
    ("observation/image", np.zeros((0, 4, 3), np.uint8), "must be a picture"),
    ("observation/image", np.zeros((1, 4097, 3), np.uint8), "must be a picture"),
    ("observation/image", np.zeros((4, 4, 3), np.int64), "uint8, or of floats"),
    ("observation/image", np.full((4, 4, 3), np.nan, np.float32), "NaN or outside"),
    ("observation/wrist_image", "picture", "observation/wrist_image must be a picture"),
    ("observation/state", np.zeros(7), r"float\[8\].*got float64\[7\]"),
    ("observation/state", np.full(8, np.inf), "not a finite"),
    ("observation/state", np.full(8, 1e200), "not a finite"),
    ("observation/state", ["a"] * 8, r"float\[8\]"),
    ("prompt", b"lift", "task in words"),
    ("prompt", " ", "task in words"),
])
def test_what_is_no_observation_is_refused_by_key_and_reason(message, key, value, reason):
    with pytest.raises(WireError, match=reason):
        decode({**message, key: value}, CAMERAS, 32)


def test_a_missing_key_is_named_and_a_camera_that_is_not_seen_may_be_missing(message):
    del message["observation/wrist_image"]
    with pytest.raises(WireError, match="lacks observation/wrist_image"):
        decode(message, CAMERAS, 32)
    assert set(decode(message, ("agentview",), 32).images) == {"agentview"}


@pytest.mark.parametrize("actions", [None, np.zeros((8, 6)), np.zeros(7), np.zeros((0, 7)), np.array([["a"] * 7])])
def test_an_answer_without_a_chunk_is_refused(actions):
    with pytest.raises(WireError, match=r"shape \(H, 7\)"):
        chunk({"actions": actions}, 7)


def test_a_chunk_keeps_its_nan_for_whoever_checks_actions():
    assert np.isnan(chunk({"actions": np.full((2, 7), np.nan)}, 7)).all()
