from __future__ import annotations

import pytest

from envs.toy import open_task
from policies.scripted import ToyScripted


def test_without_simulator_truth_it_says_what_it_needs():
    observation = open_task("toy", 0, 16, "none", privileged=False).reset(0, 0)
    with pytest.raises(ValueError, match="privileged=True"):
        ToyScripted().act([observation])


def test_a_batch_is_answered_like_its_members():
    env = open_task("toy", 0, 16, "none", privileged=True)
    batch = [env.reset(i, 0) for i in range(3)]
    chunks = ToyScripted().act(batch)
    assert chunks.shape == (3, 8, 7) and abs(chunks).max() <= 1
    assert all((ToyScripted().act([o])[0] == chunk).all() for o, chunk in zip(batch, chunks, strict=True))
