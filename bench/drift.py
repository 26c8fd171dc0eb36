"""How far a quantized policy is from full precision, in physical units: a ladder of three rungs.

*Teacher-forced*: both policies answer the recorded observations of the full-precision episode, and their commands are
compared; errors cannot feed back. *Shadow* (`bench.shadow`): the same while full precision is really in control, which
says whether the recording tells the truth. *Closed loop*: each policy lives with its own consequences, and the two
trajectories are compared step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.spatial.transform import Rotation

from bench.recorders import load_observations
from bench.spec import EpisodeKey
from envs.types import ActionSpec
from policies.base import Policy

MM_PER_M = 1000.0


def episode_drift(policy: Policy, key: EpisodeKey, observations: Path, baseline_trace: Path, trace: Path,
                  threshold_mm: float) -> dict[str, Any]:
    """The `drift` of a record: teacher-forced on the stored observations, and what the two traces differ by."""
    baseline, variant = read_trace(baseline_trace), read_trace(trace)
    divergence = first_divergence(baseline.positions, variant.positions, threshold_mm)
    return {"teacher_forced": teacher_forced(policy, key, observations),
            "closed_loop": closed_loop(baseline, variant), "divergence_threshold_mm": threshold_mm, **divergence}


def teacher_forced(policy: Policy, key: EpisodeKey, observations: Path) -> dict[str, Any]:
    """Run `policy` on what full precision saw, with the same noise, and compare the actions that were executed.

    One observation at a time, as in the episode: a policy that draws noise must draw it in the same order.
    """
    seen, chunks, executed = load_observations(observations)
    policy.reset(key.noise_key())
    answers = [policy.act([observation])[0] for observation in seen]
    reference = np.concatenate([chunk[:n] for chunk, n in zip(chunks, executed, strict=True)])
    answer = np.concatenate([chunk[:n] for chunk, n in zip(answers, executed, strict=True)])
    return {"decisions": len(seen), **compare_actions(reference, answer, policy.action_spec)}


def compare_actions(reference: np.ndarray, answer: np.ndarray, spec: ActionSpec) -> dict[str, Any]:
    """Deviation of `answer` from `reference`, both float[N, 7] in the units of `spec`.

    `l2_mean` is in raw action units: the mean over actions of the norm over all dimensions.
    """
    deviation = answer.astype(np.float64) - reference.astype(np.float64)
    mean = np.abs(deviation).mean(axis=0)
    return {
        "actions": len(deviation),
        "translation_mm": (mean[:3] * spec.translation_m * MM_PER_M).tolist(),
        "rotation_deg": np.degrees(mean[3:6] * spec.rotation_rad).tolist(),
        "gripper_flips": int(((answer[:, -1] > 0) != (reference[:, -1] > 0)).sum()),
        "l2_mean": float(np.linalg.norm(deviation, axis=1).mean()),
        "cumulative_translation_mm":
            float(np.linalg.norm(deviation[:, :3].sum(axis=0)) * spec.translation_m * MM_PER_M),
        "summed_translation_mm": (deviation[:, :3].sum(axis=0) * spec.translation_m * MM_PER_M).tolist(),
        "summed_rotation_deg": np.degrees(deviation[:, 3:6].sum(axis=0) * spec.rotation_rad).tolist(),
    }


def first_divergence(baseline: np.ndarray, variant: np.ndarray, threshold_mm: float) -> dict[str, Any]:
    """Where two end-effector paths, float[N, 3] and float[M, 3] in metres, part by more than `threshold_mm`.

    `final_distance_mm` is at the last step that both episodes reached, None if there is none.
    """
    common = min(len(baseline), len(variant))
    distance_mm = np.linalg.norm(baseline[:common] - variant[:common], axis=1) * MM_PER_M
    beyond = np.flatnonzero(distance_mm > threshold_mm)
    return {"first_divergence_step": int(beyond[0]) if len(beyond) else None,
            "final_distance_mm": float(distance_mm[-1]) if common else None}


@dataclass(frozen=True)
class Trace:
    """What an episode did, one row per control step. N is their number."""

    positions: np.ndarray
    """float64[N, 3]: the end effector after the step, metres."""
    rotations: np.ndarray
    """float64[N, 3]: its orientation as axis times angle, radians."""
    gripper: np.ndarray
    """float64[N]: the gripper's command; closing if positive."""
    decisions: np.ndarray
    """int64[N]: which decision planned the step; -1 for a step without a plan."""


def closed_loop(baseline: Trace, variant: Trace) -> dict[str, Any]:
    """What two episodes differ by over the `steps` that both took, each axis by itself.

    `chunk_end_mm` is the distance of the end effectors at the last step of each chunk of the baseline: the curve over
    time, sampled where errors of open-loop execution are greatest. Means are None if there is no common step.
    """
    steps = min(len(baseline.positions), len(variant.positions))
    if not steps:
        return {"steps": 0, "translation_mm": None, "rotation_deg": None, "mean_distance_mm": None,
                "gripper_flips": 0, "chunk_end_mm": []}
    apart_mm = (variant.positions[:steps] - baseline.positions[:steps]) * MM_PER_M
    turned = Rotation.from_rotvec(variant.rotations[:steps]) * Rotation.from_rotvec(baseline.rotations[:steps]).inv()
    # Equal orientations differ by nothing, not by the rounding of a product with an inverse.
    same = (variant.rotations[:steps] == baseline.rotations[:steps]).all(axis=1)
    turned_deg = np.degrees(np.where(same[:, None], 0.0, np.abs(turned.as_rotvec())))
    distance_mm = np.linalg.norm(apart_mm, axis=1)
    ends = np.flatnonzero(np.diff(baseline.decisions[:steps], append=baseline.decisions[steps:steps + 1]))
    if steps == len(baseline.positions):
        ends = np.append(ends, steps - 1)
    return {
        "steps": steps,
        "translation_mm": np.abs(apart_mm).mean(axis=0).tolist(),
        "rotation_deg": turned_deg.mean(axis=0).tolist(),
        "mean_distance_mm": float(distance_mm.mean()),
        "gripper_flips": int(((variant.gripper[:steps] > 0) != (baseline.gripper[:steps] > 0)).sum()),
        "chunk_end_mm": distance_mm[ends].tolist(),
    }


def read_trace(path: Path) -> Trace:
    """The trace that a `TraceRecorder` wrote."""
    names = ["x", "y", "z", "rx", "ry", "rz", "a6", "decision"]
    table: Mapping[str, Any] = pq.read_table(path, columns=names).to_pydict()
    decisions = np.array([-1 if d is None else d for d in table["decision"]], dtype=np.int64)
    return Trace(*(np.column_stack([np.array(table[n], dtype=np.float64) for n in axes])
                   for axes in (names[:3], names[3:6])), np.array(table["a6"], dtype=np.float64), decisions)


def read_positions(trace: Path) -> np.ndarray:
    """float64[N, 3]: the end effector after each control step, metres."""
    return read_trace(trace).positions
