"""The noise floor: what full precision against itself, in closed loop, differs by.

What a method differs by means little below that. On a CPU it is zero in every recorded number but clock times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports.load import PAIR_FIELDS, RunData, Variant

COMPARED = ("outcome", "steps", "task_name", "instruction")
"""Fields of two records of a pair that must be equal, besides a drift of zero."""


def noise_floor(run: RunData) -> dict[str, Any] | None:
    """What the repetition of full precision differs by; None if the run has none.

    `pairs`, `outcomes_changed`, `steps_changed`, `gripper_flips` and `diverged_episodes` are counts;
    `greatest_drift` is the largest number in any drift record that should be zero; `exactly_zero` says that every
    recorded number was equal.
    """
    repeat = next((v for v in run.variants if v.repeat), None)
    baseline = run.baseline_of(repeat) if repeat is not None else None
    if repeat is None or baseline is None:
        return None
    first, second = _by_pair(run, baseline), _by_pair(run, repeat)
    both = [(first[key], second[key]) for key in first if key in second]
    if not both:
        return None
    drifts = [record["drift"] for _, record in both]
    numbers = [abs(n) for d in drifts for n in _deviations(d)]
    changed = {field: sum(a[field] != b[field] for a, b in both) for field in COMPARED}
    return {
        "pairs": len(both), "outcomes_changed": changed["outcome"], "steps_changed": changed["steps"],
        "gripper_flips": sum(d["teacher_forced"]["gripper_flips"] for d in drifts),
        "diverged_episodes": sum(d["first_divergence_step"] is not None for d in drifts),
        "greatest_drift": max(numbers, default=0.0),
        "exactly_zero": not any(numbers) and not any(changed.values()),
    }


def noise_notice(run: RunData) -> str | None:
    """The sentence that belongs beside every comparison; None if the noise floor was not measured."""
    floor = noise_floor(run)
    if floor is None:
        return None
    if floor["exactly_zero"]:
        return (f"Noise floor: full precision against itself gave the same {floor['pairs']} episodes, equal in every "
                "recorded number but clock times. Every difference below is the method's.")
    return (f"Noise floor: full precision against itself changed the outcome of {floor['outcomes_changed']} of "
            f"{floor['pairs']} episodes, and {floor['diverged_episodes']} of them diverged. A method that changes no "
            "more than that has not been told apart from noise.")


def _by_pair(run: RunData, variant: Variant) -> dict[tuple, Mapping[str, Any]]:
    return {tuple(row[field] for field in PAIR_FIELDS): row
            for row in run.episodes_of(variant).to_dict(orient="records")}


def _deviations(drift: Any, name: str = "") -> Iterator[float]:
    """Every number of a drift record that is zero for equal policies; a first divergence counts as one."""
    if name in ("decisions", "actions", "steps", "divergence_threshold_mm"):
        return
    if name == "first_divergence_step":
        yield float(drift is not None)
    elif isinstance(drift, Mapping):
        for key, value in drift.items():
            yield from _deviations(value, key)
    elif isinstance(drift, (list, tuple)):
        for value in drift:
            yield from _deviations(value, name)
    elif drift is not None:
        yield float(drift)
