"""The scripted expert: picks the goal to work on, asks its motion, and turns the answer into an action."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.types import OSC_POSE, ActionSpec, Observation
from policies.experts.drive import drive
from policies.experts.motions import current, destination, motion_of
from policies.experts.scene import Scene, scene_of


class Expert:
    """Solves LIBERO's tasks from simulator truth, one action at a time."""

    name = "expert"
    action_spec: ActionSpec = OSC_POSE
    image_size = 0
    needs_privileged = True

    def reset(self, noise_key: Sequence[int]) -> None:
        """Nothing is random and nothing is remembered."""

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        """float32[B, 1, 7]: one action each."""
        return np.stack([expert_action(o)[None] for o in observations])


def expert_action(observation: Observation) -> np.ndarray:
    """float32[7]: what the expert would do in this state. Raises `ValueError` without privileged state."""
    scene = scene_of(observation)
    goal = current(scene)
    return drive(scene, motion_of(goal)(scene, goal))


def focus(scene: Scene) -> np.ndarray:
    """float32[7]: what is being worked on, relative to the hand (m); where it should go, relative to the hand (m);
    whether it is held. A drawer, knob or door is represented by the point at which it is moved."""
    here, there, held = destination(scene, current(scene))
    return np.array([*(here - scene.hand), *(there - scene.hand), held], dtype=np.float32)
