"""One real episode for each way of moving furniture."""

from __future__ import annotations

import numpy as np
import pytest

from envs.libero.env import open_task
from envs.types import OSC_POSE
from policies.experts.expert import Expert


@pytest.mark.libero
@pytest.mark.parametrize(("suite", "index", "steps"), [
    pytest.param("libero_goal", 0, 120, id="open drawer"), pytest.param("libero_90", 22, 120, id="close drawer"),
    pytest.param("libero_goal", 7, 80, id="turn on"), pytest.param("libero_90", 39, 300, id="turn off"),
    pytest.param("libero_90", 33, 150, id="close door")])
def test_furniture_moves_within_few_steps(suite, index, steps):
    env, expert = open_task(suite, index, 0, "builtin", privileged=True), Expert()
    env.reset(1, 1, observe=False)
    for _ in range(10):
        result = env.step(np.array(OSC_POSE.hold))
    for _ in range(steps):
        result = env.step(expert.act([result.observation])[0, 0])
        if result.success:
            break
    assert result.success
    env.close()
