"""`pocket-oft` and its shipped checkpoint."""

from __future__ import annotations

from bench.pocket import ROUNDS
from policies.pocket.oft import WEIGHTS, PocketOFT


def test_the_shipped_checkpoint_is_small_and_brings_its_calibration():
    assert (WEIGHTS / "model.safetensors").stat().st_size <= 25_000_000
    observations, episodes = PocketOFT().calibration_observations()
    assert len(observations) == len(episodes) >= 32
    assert len({o.instruction for o in observations}) == 40
    by_expert = {f"round{number}" for number, plan in enumerate(ROUNDS) if plan.expert}
    assert {name.split("/")[0] for name in episodes} <= by_expert
