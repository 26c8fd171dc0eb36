"""`pocket-token`: bins and greedy speech."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.pocket.autoregressive import BINS, CENTRES, from_bins, mean_action, to_bins
from policies.pocket.losses import BELLS


@given(st.floats(-1.0, 1.0, width=32))
def test_a_value_comes_back_within_half_a_bin(value):
    chunk = torch.full((1, 8, 7), value)
    bins = to_bins(chunk)
    assert bins.shape == (1, 56) and bins.min() >= 0 and bins.max() < BINS
    torch.testing.assert_close(from_bins(bins), chunk, rtol=0, atol=1 / 255 + 1e-6)


def test_bins_are_those_of_openvla():
    values = np.linspace(-1.2, 1.2, 7 * 8 * 20, dtype=np.float32).reshape(20, 8, 7)
    edges = np.linspace(-1, 1, 256)
    digits = np.digitize(np.clip(values.astype(np.float64), -1, 1), edges)
    np.testing.assert_array_equal(to_bins(torch.from_numpy(values)), digits.reshape(20, 56) - 1)
    centres = ((edges[:-1] + edges[1:]) / 2)[np.clip(digits - 1, 0, 254)]
    np.testing.assert_allclose(from_bins(to_bins(torch.from_numpy(values))), centres, atol=1e-7)


def test_no_motion_is_spoken_exactly():
    assert from_bins(to_bins(torch.zeros(1, 8, 7))).abs().max() < 1e-7


def test_bins_are_the_last_ids_of_the_vocabulary(make):
    module = make("token").module
    assert module.language.embed_tokens.num_embeddings == module.lm_head.out_features
    place, said = module.asked(3), module.asked(3, torch.tensor([[0, BINS - 1] * 4]))
    for action, row in ((0, -BINS), (1, -1)):
        said_row = said[0, action] - place[0, action]
        torch.testing.assert_close(said_row, module.language.embed_tokens.weight[row], atol=1e-6, rtol=1e-5)


def test_a_token_hangs_on_the_earlier_ones_of_its_own_action_alone(make, observe):
    policy = make("token")
    inputs = policy.inputs([observe(0)])
    bins = torch.full((1, 56), 7)
    with torch.no_grad():
        before, _ = policy.module.taught(**inputs, bins=bins)
        bins[0, 2 * 7 + 3] = 200
        after, _ = policy.module.taught(**inputs, bins=bins)
    changed = (before != after).any(-1)[0].nonzero().flatten().tolist()
    assert changed == [2 * 7 + 4, 2 * 7 + 5]
    with torch.no_grad():
        bins[0, 2 * 7 + 6] = 200
        gripper, _ = policy.module.taught(**inputs, bins=bins)
    changed = (after != gripper).any(-1)[0].nonzero().flatten().tolist()
    assert changed == [2 * 7 + dimension for dimension in range(6)], "the gripper is spoken first"


def test_what_is_spoken_step_by_step_is_likeliest_when_taught_at_once(make, observe):
    policy = make("token")
    inputs = policy.inputs([observe(0), observe(1)])
    with torch.no_grad():
        spoken = policy.module.generate(**inputs)
        logits, slots = policy.module.taught(**inputs, bins=spoken)
        context = policy.module.context(**inputs)
    assert torch.equal(logits[..., -BINS:].argmax(-1), spoken) and len(spoken.unique()) > 1
    torch.testing.assert_close(slots, context[:, -8:])


def test_a_batch_speaks_the_very_tokens_of_its_observations_alone(make, observe):
    policy = make("token")
    seen = [observe(seed) for seed in range(4)]
    together = policy.batch(seen)["bins"]
    assert torch.equal(together, torch.cat([policy.batch([observation])["bins"] for observation in seen]))


def test_a_sure_network_means_what_it_says():
    bins = torch.randint(0, BINS, (2, 56), generator=torch.Generator().manual_seed(0))
    logits = torch.zeros(2, 56, 300).scatter_(2, (bins + 300 - BINS)[..., None], 100.0)
    torch.testing.assert_close(mean_action(logits), CENTRES[bins].view(2, 8, 7))


def test_what_is_asked_for_is_likeliest_at_the_true_bin_and_falls_to_both_sides():
    assert torch.equal(BELLS.argmax(1), torch.arange(BINS))
    torch.testing.assert_close(BELLS.sum(1), torch.ones(BINS))
    rise = BELLS[128].diff()
    assert (rise[118:128] > 0).all() and (rise[128:138] < 0).all()
