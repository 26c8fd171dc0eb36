"""Training data for the pocket policies: what was seen, and the chunk of actions that the expert would take from there.

Episodes start from the suite's own random placements, never from the official init states. At each decision the world
is saved, the expert acts for one chunk (the label), and the world is put back; then either a disturbed expert or the
policy under training (DAgger, Ross et al. 2011) moves on. One file an episode; a file that exists is not
made again, so an interrupted collection goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.protocol import PROTOCOLS
from envs.libero.env import LiberoEnv
from envs.types import OSC_POSE, Observation
from policies.base import Policy
from policies.experts.expert import expert_action, focus
from policies.experts.scene import scene_of
from policies.pocket.model import CHUNK

MAX_STEPS = 220
EXECUTE = (4, 8)
"""Steps that pass between two decisions; drawn each time."""
NOISE_SCALES = (0.0, 0.0, 0.15, 0.3, 0.5)
"""Standard deviations of the disturbance of an executed chunk, in action units; drawn each time."""


@dataclass(frozen=True)
class Demonstration:
    """The decisions of one episode. Axis letters: D decisions, C cameras, S pixels, H actions."""

    images: np.ndarray
    """uint8[D, C, S, S, 3]."""
    states: np.ndarray
    """float32[D, 8]."""
    chunks: np.ndarray
    """float32[D, H, 7], what the expert would do."""
    truth: np.ndarray
    """float32[D, 7]: what is worked on and where it should go, relative to the hand (m), and whether it is held."""
    success: bool
    """Whether the episode reached the goal."""


def collect(env: LiberoEnv, seed: int, driver: Policy | None) -> Demonstration:
    """One episode from the placement drawn from `seed`; `driver` None is the disturbed expert."""
    rng = np.random.default_rng([seed, 2])
    env.reset(None, seed, observe=False)
    for _ in range(PROTOCOLS["oft"].settle_steps):
        env.step(np.array(OSC_POSE.hold), observe=False)
    if driver is not None:
        driver.reset([seed])
    rows, steps, success = [], 0, False
    while steps < MAX_STEPS and not success:
        observation = env.observe()
        chunk = _label(env)
        rows.append((observation, chunk))
        moves = _disturbed(chunk, rng) if driver is None else driver.act([observation])[0]
        for move in moves[: rng.choice(EXECUTE)]:
            success = env.step(move, observe=False).success
            steps += 1
            if success:
                break
    return _demonstration(rows, success)


def _label(env: LiberoEnv) -> np.ndarray:
    """float32[H, 7]: the expert's next chunk from here; the world is as before afterwards."""
    saved = env.scene.snapshot()
    chunk = []
    for _ in range(CHUNK):
        chunk.append(expert_action(env.look_privileged()))
        env.step(chunk[-1], observe=False)
    env.scene.restore(saved)
    return np.stack(chunk)


def _disturbed(chunk: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The chunk with one constant push and some jitter on the translation; the gripper is left alone."""
    scale = rng.choice(NOISE_SCALES)
    push = rng.normal(0.0, scale, 3) + rng.normal(0.0, scale / 3, (len(chunk), 3))
    moved = chunk.copy()
    moved[:, :3] = np.clip(moved[:, :3] + push, -1.0, 1.0)
    return moved


def _demonstration(rows: list[tuple[Observation, np.ndarray]], success: bool) -> Demonstration:
    seen = [row[0] for row in rows]
    truth = [focus(scene_of(o)) for o in seen]
    return Demonstration(
        np.stack([np.stack(list(o.images.values())) for o in seen]), np.stack([o.state for o in seen]),
        np.stack([row[1] for row in rows]).astype(np.float32), np.stack(truth).astype(np.float32), success,
    )


def save(path: Path, demonstration: Demonstration) -> None:
    """Write one episode; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **vars(demonstration))
    partial.replace(path)
