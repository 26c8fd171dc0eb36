"""One training episode: states, actions, and at each decision the chunk that the expert would take from there.

An episode starts from the suite's own random placement, never from an official init state. At each decision the world
is saved, the expert acts for one chunk (the label), and the world is put back; then either a disturbed expert or the
policy under training (DAgger, Ross et al. 2011) moves on. Nothing is drawn unless a policy drives: pictures
follow from what is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.protocol import PROTOCOLS
from envs.libero.env import LiberoEnv
from envs.types import OSC_POSE
from policies.experts.expert import expert_action, focus
from policies.experts.scene import scene_of
from policies.registry import POLICIES

if TYPE_CHECKING:  # it imports torch, which collecting from the expert does not need
    from policies.base import Policy

TRAINED_ON = POLICIES["pocket-oft"].trained_on
"""Length of a chunk, cameras and size of the pictures, as the policies under training declare them."""
PROTOCOL = PROTOCOLS["oft"]
"""Settling and step caps are those of the evaluation."""
EXECUTE = (4, 8)
"""Steps that pass between two decisions; drawn each time."""
NOISE_SCALES = (0.0, 0.0, 0.15, 0.3, 0.5)
"""Standard deviations of the push on the translation of a chunk that the expert executes, in action units; drawn each
time, so that two chunks in five are undisturbed."""
ROTATION_SHARE = 0.1
"""Push on the rotation over that on the translation, both in action units."""


@dataclass(frozen=True)
class Episode:
    """T control steps. Row t of each array is the instant before action t; H actions in a chunk."""

    suite: str
    """Name of the suite."""
    task: int
    """Index of the task in its suite."""
    instruction: str
    """The task in words."""
    number: int
    """Which episode of its task and round this is."""
    seed: int
    """Placement, disturbances and the policy's noise follow from it."""
    driver: str
    """"expert", or name and digest of the policy that drove."""
    success: bool
    """Whether the episode reached the goal."""
    assets: str
    """Digest of the assets it was played and is drawn with."""
    fixtures: np.ndarray
    """float64[F, 7]: poses of the fixtures, see `FastScene.fixture_poses`."""
    states: np.ndarray
    """float32[T, 8]: see `envs.types.STATE_DIM`."""
    actions: np.ndarray
    """float32[T, 7]: what was executed."""
    succeeded: np.ndarray
    """bool[T]: whether the goal holds after the action."""
    simulator: np.ndarray
    """float64[T, 1 + nq + nv]: time, positions and velocities, as in the official init states."""
    shown: np.ndarray
    """float64[T, nq + 2 + L]: what was observed, see `FastScene.stored`."""
    decisions: np.ndarray
    """bool[T]: whether somebody decided here; `chunks` tells something in these rows only."""
    chunks: np.ndarray
    """float32[T, H, 7]: what the expert would do from a decision on; zeros in other rows."""
    focus: np.ndarray
    """float32[T, 7]: see `policies.experts.expert.focus`, the auxiliary target of training."""
    expert_drives: np.ndarray
    """bool[T]: whether the action is the expert's, disturbed or not."""
    noise: np.ndarray
    """float32[T]: standard deviation of the push on the expert's translation, in action units."""


def play(env: LiberoEnv, number: int, seed: int, driver: Policy | None, name: str, beta: float, assets: str) -> Episode:
    """One episode from the placement drawn from `seed`.

    `driver` None is the disturbed expert; next to a policy it still drives a decision with probability `beta`, so that
    long tasks get past their early stages. `env` must be privileged, and have pictures if there is a `driver`.
    """
    rng = np.random.default_rng([seed, 2])
    env.reset(None, seed, observe=False)
    for _ in range(PROTOCOL.settle_steps):
        env.step(np.array(OSC_POSE.hold), observe=False)
    if driver is not None:
        driver.reset([seed])
    cap, rows, success = PROTOCOL.cap(env.task.suite), [], False
    while len(rows) < cap and not success:
        by_expert = driver is None or rng.random() < beta
        seen = None if by_expert else env.observe()
        before = _instant(env)
        chunk = _label(env)
        moves, noise = _disturbed(chunk, rng) if by_expert else (driver.act([seen])[0], 0.0)
        count = min(rng.choice(EXECUTE), cap - len(rows))
        for move in moves[:count]:
            first = before is not None
            instant = before if first else _instant(env)
            before = None
            success = env.step(move, observe=False).success
            rows.append((*instant, move, success, first, chunk if first else np.zeros_like(chunk), by_expert, noise))
            if success:
                break
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    states, simulator, shown, focus, actions, succeeded, decisions, chunks, expert_drives, noises = columns
    return Episode(
        env.task.suite, env.task.index, env.task.instruction, number, seed, name, bool(success), assets,
        env.scene.fixture_poses(), states, actions.astype(np.float32), succeeded, simulator, shown, decisions,
        chunks.astype(np.float32), focus, expert_drives, noises.astype(np.float32),
    )


def _instant(env: LiberoEnv) -> tuple[np.ndarray, ...]:
    """The first four columns of a row."""
    looked = env.look_privileged()
    return looked.state, *env.scene.stored(), focus(scene_of(looked))


def _label(env: LiberoEnv) -> np.ndarray:
    """float32[H, 7]: the expert's next chunk from here; the world is as before afterwards."""
    saved = env.scene.snapshot()
    chunk = []
    for _ in range(TRAINED_ON.horizon):
        chunk.append(expert_action(env.look_privileged()))
        env.step(chunk[-1], observe=False)
    env.scene.restore(saved)
    return np.stack(chunk)


def _disturbed(chunk: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """The chunk with one constant push and some jitter on translation and rotation, and the scale of the push.

    The gripper is left alone.
    """
    scale = rng.choice(NOISE_SCALES)
    spread = scale * np.array([1.0] * 3 + [ROTATION_SHARE] * 3)
    push = rng.normal(0.0, spread) + rng.normal(0.0, spread / 3, (len(chunk), 6))
    moved = chunk.copy()
    moved[:, :6] = np.clip(moved[:, :6] + push, -1.0, 1.0)
    return moved, float(scale)
