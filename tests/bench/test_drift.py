from __future__ import annotations

import numpy as np
import pytest

from bench.drift import compare_actions, first_divergence, read_positions, teacher_forced
from bench.protocol import PROTOCOLS
from bench.recorders import ObservationRecorder, TraceRecorder, load_observations
from bench.rollout import rollout
from envs.toy import open_task
from envs.types import OSC_POSE
from policies.scripted import ToyScripted


def test_deviations_are_reported_in_physical_units():
    reference = np.zeros((2, 7))
    answer = np.array([[0.1, -0.2, 0.0, 0.1, 0.0, 0.0, -1.0], [0.3, 0.2, 0.0, -0.1, 0.0, 0.2, 1.0]])
    drift = compare_actions(reference, answer, OSC_POSE)
    assert drift["actions"] == 2
    assert drift["translation_mm"] == pytest.approx([10.0, 10.0, 0.0])
    assert drift["rotation_deg"] == pytest.approx(np.degrees([0.05, 0.0, 0.05]))
    assert drift["cumulative_translation_mm"] == pytest.approx(20.0)
    assert drift["l2_mean"] == pytest.approx((np.sqrt(1.06) + np.sqrt(1.18)) / 2)


def test_a_gripper_flip_is_a_change_of_sign_not_of_size():
    reference, answer = np.zeros((4, 7)), np.zeros((4, 7))
    reference[:, 6], answer[:, 6] = [-1, -1, 1, 1], [-0.1, 0.1, 0.5, -0.5]
    assert compare_actions(reference, answer, OSC_POSE)["gripper_flips"] == 2


def test_paths_part_at_the_first_step_beyond_the_threshold():
    baseline = np.zeros((5, 3))
    variant = np.array([[0, 0, 0], [0.004, 0, 0], [0.003, 0.004, 0], [0.0051, 0, 0], [0, 0, 0]], dtype=float)
    assert first_divergence(baseline, variant, 5.0) == {"first_divergence_step": 3, "final_distance_mm": 0.0}


def test_the_final_distance_is_at_the_last_common_step():
    drift = first_divergence(np.zeros((2, 3)), np.full((9, 3), 0.001), 5.0)
    assert drift["first_divergence_step"] is None
    assert drift["final_distance_mm"] == pytest.approx(np.sqrt(3))


def test_paths_without_a_common_step_have_no_distance():
    assert first_divergence(np.zeros((0, 3)), np.zeros((3, 3)), 5.0)["final_distance_mm"] is None


class Reader(ToyScripted):
    """Answers from the stored chunk of each observation, which it knows by its state."""

    def __init__(self, observations, chunks, shift: float) -> None:
        self._known = [(o.state, c) for o, c in zip(observations, chunks, strict=True)]
        self._shift = shift

    def _plan(self, observation):
        chunk = next(c for state, c in self._known if np.array_equal(state, observation.state)).copy()
        chunk[:, 0] += self._shift
        return chunk


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_only_executed_actions_are_compared(tmp_path, key, shift):
    observations, trace = ObservationRecorder(tmp_path / "o.npz"), TraceRecorder(tmp_path / "t.parquet")
    record = rollout(open_task("toy", 0, 16, "none", True), ToyScripted(), key, PROTOCOLS["oft"], [observations, trace])
    seen, chunks, executed = load_observations(tmp_path / "o.npz")
    assert executed.sum() == record.steps == len(read_positions(tmp_path / "t.parquet"))
    assert executed[-1] < 8
    drift = teacher_forced(Reader(seen, chunks, shift), key, tmp_path / "o.npz")
    assert drift["decisions"] == len(record.latencies_ms)
    assert drift["actions"] == record.steps
    assert drift["translation_mm"] == pytest.approx([shift * 50, 0, 0])
    assert drift["cumulative_translation_mm"] == pytest.approx(shift * 50 * record.steps)
