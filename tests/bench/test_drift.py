from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from bench.cli import main
from bench.drift import (
    Trace,
    closed_loop,
    compare_actions,
    first_divergence,
    read_positions,
    teacher_forced,
)
from bench.latency import parse_latency
from bench.protocol import PROTOCOLS
from bench.recorders import ObservationRecorder, TraceRecorder, load_observations
from bench.rollout import rollout
from bench.run import run
from bench.shadow import shadow_variants
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


def walk(positions, gripper, decisions, turns=0.0) -> Trace:
    rotations = np.zeros((len(positions), 3))
    rotations[:, 2] = turns
    return Trace(np.array(positions, dtype=float), rotations, np.array(gripper, dtype=float), np.array(decisions))


def test_two_episodes_are_compared_step_by_step_and_at_the_ends_of_chunks():
    baseline = walk([[0, 0, 0]] * 5, [-1, -1, 1, 1, 1], [0, 0, 1, 1, 2])
    variant = walk([[0, 0, 0], [0.003, 0, -0.004], [0, 0, 0], [0, 0.002, 0]], [-1, 1, 1, -1], [0, 0, 1, 1], turns=0.1)
    drift = closed_loop(baseline, variant)
    assert drift["steps"] == 4 and drift["gripper_flips"] == 2
    assert drift["translation_mm"] == pytest.approx([0.75, 0.5, 1.0])
    assert drift["rotation_deg"] == pytest.approx([0, 0, np.degrees(0.1)])
    assert drift["mean_distance_mm"] == pytest.approx(7 / 4)
    assert drift["chunk_end_mm"] == pytest.approx([5.0, 2.0])
    assert closed_loop(variant, baseline)["chunk_end_mm"] == pytest.approx([5.0, 2.0])


def test_orientations_are_compared_as_rotations_and_not_as_numbers():
    """Half a turn about z and the same about -z are one orientation."""
    drift = closed_loop(walk([[0, 0, 0]], [1], [0], np.pi), walk([[0, 0, 0]], [1], [0], -np.pi))
    assert drift["rotation_deg"] == pytest.approx([0, 0, 0], abs=1e-9)


def test_episodes_without_a_common_step_have_no_means():
    drift = closed_loop(walk(np.zeros((0, 3)), [], []), walk([[0, 0, 0]], [1], [0]))
    assert (drift["steps"], drift["translation_mm"], drift["chunk_end_mm"]) == (0, None, [])


@pytest.mark.parametrize("latency", ["paused", "fixed:120"])
def test_the_rung_with_the_teacher_in_control_confirms_the_recorded_one(vla_spec, open_store, latency):
    spec = dataclasses.replace(vla_spec, latency=parse_latency(latency, vla_spec.variants))
    with open_store(spec) as store:
        run(spec, store, shown=False)
        shadow_variants(spec, store, shown=False)
        for record in store.records():
            if record.drift:
                shadow = json.loads(store.folder.shadow(record.key).read_text())
                assert shadow.pop("repeated") is True
                assert shadow == json.loads(json.dumps(record.drift["teacher_forced"]))
                assert record.drift["closed_loop"]["steps"] > 0
        stamps = {p: p.stat().st_mtime_ns for p in (store.folder.root / "shadows").rglob("*.json")}
        assert len(stamps) == 4
        shadow_variants(spec, store, shown=False)
        assert stamps == {p: p.stat().st_mtime_ns for p in stamps}


def test_one_command_prints_every_rung(capsys, tmp_path):
    assert main(["drift", "--suite", "toy", "--method", "rtn:w4", "--trials", "1", "--threads", "1", "--quiet",
                 "--no-video", "--no-doctor", "--runs-dir", str(tmp_path), "--run", "r"]) == 0
    out = capsys.readouterr().out
    assert "teacher in control" in out and "Does drift foretell failure?" in out
    (rungs,) = json.loads(out.splitlines()[-1])["drift_ladder"]["variants"].values()
    assert rungs["shadow"].pop("teacher_repeated") == 2
    assert rungs["shadow"] == rungs["teacher_forced"] and rungs["closed_loop"]["mean_distance_mm"] > 0
