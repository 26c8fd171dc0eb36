import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quantizers.budget import choose_levels, sizes
from quantizers.linear import QuantLinear
from quantizers.qvla import QVLA

BITS = np.array([0, 2, 4, 8, 16])


def layers(seed: int) -> tuple[dict[str, nn.Linear], np.ndarray]:
    """Two layers of short rows and one of long ones, and errors that fall with the width."""
    random = np.random.default_rng(seed)
    linears = {"short": nn.Linear(8, 30), "wide": nn.Linear(8, 20), "long": nn.Linear(64, 10)}
    scale = np.repeat(10 ** random.uniform(-2, 2, 3), [30, 20, 10])[:, None] * 10 ** random.uniform(-1, 1, (60, 1))
    return linears, scale * np.array([1.0, 0.3, 0.02, 1e-4, 0.0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), target=st.floats(0.5, 16), rule=st.sampled_from(["hull", "incremental", "released"]))
def test_mean_bits_limit_the_mean_over_channels_and_over_weights(seed, target, rule):
    linears, error = layers(seed)
    bits = BITS[choose_levels(error, linears, QVLA(target_bits=target, rule=rule))]
    long = np.repeat([8, 8, 64], [30, 20, 10])
    assert bits.mean() <= target * (1 + 1e-8) and np.average(bits, weights=long) <= target * (1 + 1e-8)
    # One of the two is used up, but for a step or two of one channel.
    slack = min((target - bits.mean()) * 60 / 16, (target - np.average(bits, weights=long)) * long.sum() / (16 * 64))
    assert slack <= 2


def test_channel_bits_limit_the_mean_over_channels_alone():
    linears, error = layers(0)
    error[50:] *= 1e12  # the long rows matter most
    bits = BITS[choose_levels(error, linears, QVLA(budget="channel_bits", rule="hull"))]
    assert bits.mean() <= 4 and (bits[50:] == 16).all()


def test_bytes_are_those_that_a_layer_takes():
    linears, error = layers(1)
    level = choose_levels(error, linears, QVLA(budget="bytes", rule="hull", target_bits=6.0))
    parts, in_bytes = np.split(level, [30, 50]), np.split(sizes(linears, QVLA())[2], [30, 50])
    for layer, part, size in zip(linears.values(), parts, in_bytes, strict=True):
        stored = QuantLinear(layer.weight.detach(), None, torch.from_numpy(BITS[part])).stored_bytes()
        # A layer whose rows lie in order has no table of positions.
        assert stored <= size[np.arange(len(part)), part].sum() + 1e-3 <= stored + 4 * len(part) + 1e-2


@pytest.mark.parametrize(
    ("config", "message"),
    [(QVLA(bits=(4, 8), target_bits=3), r"target_bits is 3, below 4, .* 4/8 .* the legal range is 4 \.\. 8"),
     (QVLA(bits=(2, 4), target_bits=2, budget="bytes"), r"target_bits is 2, below .* 'bytes'.*raise target_bits")])
def test_a_budget_below_the_smallest_widths_names_the_legal_range(config, message):
    linears, error = layers(0)
    with pytest.raises(ValueError, match=message):
        choose_levels(error[:, :2], linears, config)
