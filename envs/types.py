"""What the world shows, what it takes, and what one step returns.

This is the bottom of the import graph: it knows numpy and nothing else of the project, and every other package
may import it. Axis letters: H, W image rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

STATE_DIM = 8
"""End-effector position (3, m, world), axis-angle (3, rad, world), gripper finger positions (2, m)."""


class EnvironmentError_(Exception):
    """Base of every error that an environment raises on purpose.

    EnvironmentError_
    +-- TaskError            the suite, or the index of the task in it, does not exist
    +-- ActionError          the action has NaN/Inf, the wrong shape, or lies beyond the limits
    +-- InitStateError       the init-state index does not exist, or the file does not fit the scene
    +-- AssetsError          an asset folder is missing or incomplete
    +-- PreflightError       this machine cannot run the simulator as asked
    """


class TaskError(EnvironmentError_):
    """A suite or task that does not exist."""


class ActionError(EnvironmentError_):
    """An action that no robot should be sent."""


class InitStateError(EnvironmentError_):
    """An init state that does not exist or does not fit."""


class AssetsError(EnvironmentError_):
    """An asset pack that is missing or incomplete."""


class PreflightError(EnvironmentError_):
    """A machine that cannot run the simulator as asked."""


class SpecMismatch(ValueError):
    """A policy and an environment declare different action conventions."""


@dataclass(frozen=True)
class Observation:
    """What the world shows at one instant."""

    images: Mapping[str, np.ndarray]
    """Camera name -> uint8[H, W, 3], upright (row 0 is the top of the picture)."""
    state: np.ndarray
    """float32[8], see `STATE_DIM`."""
    instruction: str
    """The task in words, lower case, as the suite gives it."""
    privileged: Mapping[str, np.ndarray] | None = None
    """Simulator truth by name; only present when asked for, and only scripted experts may read it."""


@dataclass(frozen=True)
class StepResult:
    """What one control step returned."""

    observation: Observation | None
    """None when nobody asked for an image: rendering is lazy."""
    state: np.ndarray
    """float32[8] after the step, see `STATE_DIM`; always present, for it costs nothing."""
    terminated: bool
    """The task ended by itself (the goal holds)."""
    truncated: bool
    """The step cap was reached before the goal."""
    success: bool
    """The goal holds now."""


@dataclass(frozen=True)
class ActionSpec:
    """An action convention as data. Both sides declare one; a mismatch raises before the first episode."""

    dim: int
    """Numbers in one action."""
    low: float
    """Least legal value of each number."""
    high: float
    """Greatest legal value of each number."""
    frame: str
    """Frame in which the translation is given, e.g. "base"."""
    translation_m: float
    """Metres that an action value of 1 commands in one control step."""
    rotation: str
    """Parametrization of the rotation, e.g. "axis_angle"."""
    rotation_rad: float
    """Radians that an action value of 1 commands in one control step."""
    gripper: str
    """Meaning of the last number, e.g. "-1 opens, +1 closes"."""
    control_hz: float
    """Actions per simulated second."""
    hold: tuple[float, ...]
    """The action that leaves the arm where it is, with the gripper open."""

    def require(self, other: ActionSpec) -> None:
        """Raise `SpecMismatch` naming every field in which `other` differs from this spec."""
        mine, theirs = asdict(self), asdict(other)
        differing = [f"{name}: {mine[name]!r} != {theirs[name]!r}" for name in mine if mine[name] != theirs[name]]
        if differing:
            raise SpecMismatch("policy and environment disagree on the action: " + "; ".join(differing))

    def check(self, action: np.ndarray) -> np.ndarray:
        """Return `action` as float64[dim], or raise `ActionError` that names the value and the legal range."""
        try:
            array = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ActionError(f"action {action!r} is not made of numbers ({error}); legal are {self.dim} numbers in "
                              f"[{self.low}, {self.high}]") from error
        if array.shape != (self.dim,):
            raise ActionError(f"action has shape {array.shape}, legal is ({self.dim},)")
        if not np.isfinite(array).all():
            raise ActionError(f"action has a value that is not finite: {array.tolist()}, legal are numbers in "
                              f"[{self.low}, {self.high}]")
        if (array < self.low).any() or (array > self.high).any():
            raise ActionError(f"action {array.tolist()} leaves the legal range [{self.low}, {self.high}]")
        return array


OSC_POSE = ActionSpec(
    dim=7, low=-1.0, high=1.0, frame="base", translation_m=0.05, rotation="axis_angle", rotation_rad=0.5,
    gripper="-1 opens, +1 closes", control_hz=20.0, hold=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0),
)
"""LIBERO's delta operational-space control at 20 Hz."""


@dataclass(frozen=True)
class TaskSpec:
    """One task of a suite."""

    suite: str
    """Name of the suite, e.g. "libero_object"."""
    index: int
    """Position in the suite's official order."""
    name: str
    """Identifier of the task, as in its file name."""
    instruction: str
    """The task in words, lower case."""
    init_states: int
    """How many official init states the task has; legal indices are 0 .. init_states - 1."""


def is_index(value: object, count: int) -> bool:
    """Whether `value` is a whole number 0 .. count - 1."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value < count


class Environment(Protocol):
    """One task's world. An episode depends on `(init_state, seed)` alone, never on what ran before."""

    task: TaskSpec
    action_spec: ActionSpec
    stepping: str
    """How its physics are computed: one of its suite's `stepping` in `envs.registry`."""

    def reset(self, init_state: int | None, seed: int, observe: bool = True) -> Observation | None:
        """Place the world at an official init state, or (None) at one drawn from `seed`.

        Raises `InitStateError` for an index out of range.
        """

    def step(self, action: np.ndarray, observe: bool = True) -> StepResult:
        """Apply `action` for one control step; images are rendered only if `observe`."""

    def render(self, camera: str, size: int) -> np.ndarray:
        """One uint8[size, size, 3] picture of the present state, upright, for videos."""

    def close(self) -> None:
        """Free the simulator; the environment cannot be used afterwards."""
