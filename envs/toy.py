"""A reach-and-grasp world in numpy, so that the whole harness can be tested in seconds.

A point gripper moves over a table with a red and a blue cube; the task says which one to lift. It has the action
convention, state vector, cameras and init states of the real suites and none of their physics: a commanded metre is
travelled at a fifth per step, and cubes are carried once the fingers have closed around them.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.types import OSC_POSE, STATE_DIM, ActionSpec, InitStateError, Observation, StepResult, TaskSpec, is_index

COLORS = ("red", "blue")
"""Cube colours; task i asks for colour i."""
INIT_STATES = 10
"""Official init states of each task."""
HALF_TABLE_M = 0.2
"""The table is a square of twice this side, centred on the origin."""
CUBE_M = 0.04
"""Side of a cube; its centre rests at half of it."""
STEP_M = OSC_POSE.translation_m / 5
"""Travel in one step at action 1: like the real controller, one step realizes a part of the command."""
OPEN_M, HELD_M, FINGER_STEP_M = 0.04, 0.02, 0.01
"""Finger position when open and when stopped by a cube, and its travel in one step."""
REACH_M = 0.012
"""A closing gripper holds the cube if it is this near its centre."""
GOAL_Z_M = 0.10
"""A cube lifted above this height is the goal."""
BACKGROUND = 30
"""Value of every channel where nothing is drawn."""


def tasks(suite: str) -> tuple[TaskSpec, ...]:
    """The two tasks of the suite "toy"."""
    return tuple(TaskSpec(suite, index, f"lift_the_{color}_cube", f"lift the {color} cube", INIT_STATES)
                 for index, color in enumerate(COLORS))


def open_task(suite: str, index: int, image_size: int, assets: str, privileged: bool, stepping: str = "none"
              ) -> ToyEnvironment:
    """Open task `index`; `assets` and `stepping` must be "none"."""
    if assets != "none":
        raise ValueError(f"suite {suite!r} has no asset packs, got {assets!r}; legal is 'none'")
    if stepping != "none":
        raise ValueError(f"suite {suite!r} has no choice of stepping, got {stepping!r}; legal is 'none'")
    return ToyEnvironment(tasks(suite)[index], image_size, privileged)


def assets_stamp(assets: str) -> Mapping[str, Any]:
    """The world is this file, so its digest is the stamp."""
    source = inspect.getsource(inspect.getmodule(ToyEnvironment))
    return {"kind": assets, "digest": hashlib.sha256(source.encode()).hexdigest()}


def assets_folder(assets: str) -> None:
    """There are no asset files."""


class ToyEnvironment:
    """One task of the toy world; see `envs.types.Environment`."""

    action_spec: ActionSpec = OSC_POSE
    stepping = "none"

    def __init__(self, task: TaskSpec, image_size: int, privileged: bool) -> None:
        self.task = task
        self._image_size = image_size
        self._privileged = privileged
        self._gripper = np.zeros(3)
        self._finger = OPEN_M
        self._cubes = np.zeros((2, 3))
        self._held: int | None = None

    def reset(self, init_state: int | None, seed: int, observe: bool = True) -> Observation | None:
        """Place the cubes by the init state and the gripper by `seed`.

        Raises `InitStateError` for an index out of range.
        """
        if init_state is not None and not is_index(init_state, self.task.init_states):
            raise InitStateError(f"{self.task.suite} task {self.task.index} has init states "
                                 f"0..{self.task.init_states - 1}, got {init_state!r}")
        layout = np.random.default_rng([seed, 1] if init_state is None else [self.task.index, init_state])
        jitter = np.random.default_rng([seed, 2])
        xy = layout.uniform(0.05, 0.15, size=(2, 2)) * [[1, 1], [-1, 1]] * layout.choice([-1, 1], size=2)
        self._cubes = np.column_stack([xy, np.full(2, CUBE_M / 2)])
        self._gripper = np.array([0.0, 0.0, 0.10]) + jitter.uniform(-0.01, 0.01, size=3)
        self._finger, self._held = OPEN_M, None
        return self._observe() if observe else None

    def step(self, action: np.ndarray, observe: bool = True) -> StepResult:
        """Move, close or open, carry; rotations are accepted and change nothing."""
        action = self.action_spec.check(action)
        self._gripper = np.clip(self._gripper + STEP_M * action[:3], [-HALF_TABLE_M, -HALF_TABLE_M, CUBE_M / 2],
                                [HALF_TABLE_M, HALF_TABLE_M, 0.2])
        self._move_fingers(closing=bool(action[6] > 0))
        if self._held is not None:
            self._cubes[self._held] = self._gripper
        success = self._held == self.task.index and bool(self._gripper[2] > GOAL_Z_M)
        return StepResult(self._observe() if observe else None, self._state(), success, False, success)

    def render(self, camera: str, size: int) -> np.ndarray:
        """The table from above ("agentview"), or the window around the gripper ("wrist"); uint8[size, size, 3]."""
        if camera not in ("agentview", "wrist"):
            raise ValueError(f"the toy world has no camera {camera!r}; legal are 'agentview', 'wrist'")
        centre, half = (np.zeros(2), HALF_TABLE_M) if camera == "agentview" else (self._gripper[:2], HALF_TABLE_M / 4)
        image = np.full((size, size, 3), float(BACKGROUND))
        for channel, cube in zip((0, 2), self._cubes, strict=True):
            image[..., channel] += 200.0 * _coverage(cube[:2] - centre, CUBE_M, half, size)
        image[..., 1] += 150.0 * _coverage(self._gripper[:2] - centre, CUBE_M / 2, half, size)
        return np.rint(image).astype(np.uint8)

    def close(self) -> None:
        """Nothing to free."""

    def _move_fingers(self, closing: bool) -> None:
        if not closing:
            self._finger, self._held = min(self._finger + FINGER_STEP_M, OPEN_M), None
            return
        near = [i for i, cube in enumerate(self._cubes) if np.linalg.norm(cube - self._gripper) <= REACH_M]
        stop = HELD_M if near else 0.0
        self._finger = max(self._finger - FINGER_STEP_M, stop)
        if near and self._held is None and self._finger == HELD_M:
            self._held = near[0]

    def _state(self) -> np.ndarray:
        state = np.zeros(STATE_DIM, dtype=np.float32)
        state[:3], state[6], state[7] = self._gripper, self._finger, -self._finger
        return state

    def _observe(self) -> Observation:
        images = {camera: self.render(camera, self._image_size) for camera in ("agentview", "wrist")}
        truth = {"cubes": self._cubes.copy(), "target": self._cubes[self.task.index].copy()}
        return Observation(images, self._state(), self.task.instruction, truth if self._privileged else None)


def _coverage(centre: np.ndarray, side: float, half: float, size: int) -> np.ndarray:
    """Share of each pixel that a square covers: float[size, size], row 0 at +y. Exact, so a centroid is too."""
    edges = np.linspace(-half, half, size + 1)
    along = [np.clip(np.minimum(edges[1:], c + side / 2) - np.maximum(edges[:-1], c - side / 2), 0, None)
             for c in centre]
    pixel = edges[1] - edges[0]
    return np.outer(along[1][::-1], along[0]) / pixel**2
