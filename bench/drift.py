"""How far a quantized policy is from full precision, in physical units.

Two views. *Teacher-forced*: both policies answer the same observations, those of the full-precision episode, and
their commands are compared; errors cannot feed back. *Closed loop*: each policy lives with its own consequences, and
the first step at which the two trajectories part is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.recorders import load_observations
from bench.spec import EpisodeKey
from envs.types import ActionSpec
from policies.base import Policy

MM_PER_M = 1000.0


def episode_drift(policy: Policy, key: EpisodeKey, observations: Path, baseline_trace: Path, trace: Path,
                  threshold_mm: float) -> dict[str, Any]:
    """The `drift` of a record: teacher-forced on the stored observations, and where the two traces part."""
    divergence = first_divergence(read_positions(baseline_trace), read_positions(trace), threshold_mm)
    return {"teacher_forced": teacher_forced(policy, key, observations), "divergence_threshold_mm": threshold_mm,
            **divergence}


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


def read_positions(trace: Path) -> np.ndarray:
    """float64[N, 3]: the end effector after each control step, metres."""
    table: Mapping[str, Any] = pq.read_table(trace, columns=["x", "y", "z"]).to_pydict()
    return np.column_stack([table[axis] for axis in "xyz"])
