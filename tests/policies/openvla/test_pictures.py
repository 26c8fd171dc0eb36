"""Pictures against recorded numbers of TensorFlow; recorded.json says how they were made."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policies.openvla.pictures import Normalization, cropped, pixels, reduced, through_jpeg

HALVES = Normalization(224, ((0.5,) * 3,) * 2, ((0.5,) * 3,) * 2)


def shown() -> np.ndarray:
    y, x = np.mgrid[0:256, 0:256].astype(np.float64)
    waves = 127 + 100 * np.sin(x / 9) * np.cos(y / 13)
    picture = np.stack([waves, 40 + 0.7 * x, 255 * ((x // 16 + y // 16) % 2)], -1)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def some(picture: np.ndarray) -> np.ndarray:
    return picture.reshape(-1)[::1499][:96].astype(int)


def test_the_crop_is_tensorflow_s_in_every_level(recorded):
    y, x = np.mgrid[0:224, 0:224]
    picture = np.stack([(x * 7 + y * 3) % 256, (x * y) % 256, (x // 16 + y // 16) % 2 * 255], -1).astype(np.uint8)
    assert (some(cropped(picture)) == recorded["pictures"]["crop"]).all()


def test_lanczos_is_tensorflow_s_but_for_rounding(recorded):
    away = np.abs(some(reduced(shown()[:, ::-1], 224)) - recorded["pictures"]["lanczos"])
    assert away.max() <= 1 and (away > 0).mean() < 0.05


def test_all_steps_together_differ_by_what_jpeg_decoders_differ_by(recorded):
    away = np.abs(some(cropped(reduced(through_jpeg(shown()[:, ::-1]), 224))) - recorded["pictures"]["all"])
    assert away.max() <= 4 and away.mean() < 1.5


def test_the_network_sees_the_mirrored_picture():
    left = np.zeros((256, 256, 3), np.uint8)
    left[:, :128] = 255
    seen = pixels(left, HALVES)
    assert seen.shape == (6, 224, 224) and seen[:, :, :100].mean() < -0.9 and seen[:, :, 124:].mean() > 0.9


def test_each_tower_has_its_own_normalization():
    values = Normalization(56, ((0.2,) * 3, (0.4,) * 3), ((0.1,) * 3, (0.2,) * 3))
    seen = pixels(np.full((56, 56, 3), 255, np.uint8), values)
    assert torch.allclose(seen[:3], torch.tensor(8.0)) and torch.allclose(seen[3:], torch.tensor(3.0))


@pytest.mark.parametrize(("change", "said"), [
    ({"image_resize_strategy": "letterbox"}, "letterbox"), ({"means": [[0.5, 0.5]]}, "three colours"),
    ({"input_sizes": [[3, 224, 224], [3, 384, 384]]}, "one square size"), ({"stds": None}, "no usable"),
])
def test_other_preprocessing_is_refused(change, said):
    known = {"image_resize_strategy": "resize-naive", "input_sizes": [[3, 224, 224]] * 2, "means": [[0.5] * 3] * 2,
             "stds": [[0.5] * 3] * 2}
    with pytest.raises(ValueError, match=said):
        Normalization.of(known | change)
