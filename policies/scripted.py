"""A scripted policy for the toy world: it reads where the cube is, goes there, closes and lifts.

It proves that the toy tasks are solvable and lets the harness be tested without torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.types import OSC_POSE, ActionSpec, Observation

CHUNK = 8
"""Actions in one chunk."""
REALIZED = 0.2
"""Share of a commanded metre that the toy world travels in one step."""
CLOSE_M = 0.006
"""Distance below which the gripper closes."""
CLOSED_M = 0.03
"""A finger position below this means that the gripper is closed."""


class ToyScripted:
    """Proportional control towards the cube that the task names; see `policies.base.Policy`."""

    name = "toy-scripted"
    action_spec: ActionSpec = OSC_POSE
    image_size = 32
    needs_privileged = True

    def reset(self, noise_key: Sequence[int]) -> None:
        """Nothing is random here."""

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, 8, 7]; raises `ValueError` if an observation carries no simulator truth."""
        return np.stack([self._plan(observation) for observation in observations])

    def _plan(self, observation: Observation) -> np.ndarray:
        if observation.privileged is None:
            raise ValueError("toy-scripted reads observation.privileged['target'], which is absent; "
                             "open the environment with privileged=True")
        position, target = observation.state[:3].astype(float), observation.privileged["target"]
        step_m = self.action_spec.translation_m * REALIZED
        closed = bool(observation.state[6] < CLOSED_M)
        chunk = np.zeros((CHUNK, self.action_spec.dim), dtype=np.float32)
        for action in chunk:
            offset = np.array([0.0, 0.0, 1.0]) if closed else target - position
            move = np.clip(offset / step_m, -1.0, 1.0)
            action[:3] = move
            action[6] = 1.0 if closed or np.linalg.norm(offset) < CLOSE_M else -1.0
            position = position + step_m * move
        return chunk
