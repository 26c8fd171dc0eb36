"""A scripted expert for pick-and-place: privileged state in, one operational-space action out.

It is a function of the present state alone (no phase counter), so it can label any state that another policy visits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.types import OSC_POSE, ActionSpec, Observation

HOVER_M = 0.12
"""Height of the approach above the grasp point."""
CARRY_M = 0.30
"""Height of the gripper above the floor while it carries."""
GAIN = 2.5
"""Commanded displacement over remaining displacement; the arm lags its goal, so it is above 1."""
REACH_M = 0.033
"""Depth of the grasp below the top of the object; deeper, the palm would meet it."""
FLOOR_M = 0.013
"""Least height of the grasp; lower, the fingers would meet the floor."""
SIDESTEP_M = 0.02
"""How far from its middle a long flat object is taken when a neighbour is in the way."""
ALIGNED_M = 0.010
"""Horizontal error below which the gripper may descend on the object."""
OVER_M = 0.025
"""Horizontal error below which the object may be dropped into the container."""


class Expert:
    """Above, down, close, up, over, open."""

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
    truth = observation.privileged
    if truth is None:
        raise ValueError("the expert needs privileged state: open the environment with privileged=True")
    hand, fingers = observation.state[:3].astype(np.float64), observation.state[6:8]
    target, closed = _target(hand, float(fingers[0] - fingers[1]), truth)
    move = np.clip(GAIN * (target - hand) / OSC_POSE.translation_m, -1.0, 1.0)
    return np.array([*move, 0.0, 0.0, 0.0, 1.0 if closed else -1.0], dtype=np.float32)


def _target(hand: np.ndarray, opening_m: float, truth) -> tuple[np.ndarray, bool]:
    """Where the hand should go, and whether the gripper should be closed."""
    pick, place, grasped = truth["pick"][:3], truth["place"][:3], bool(truth["grasped"][0])
    to_place = np.linalg.norm(pick[:2] - place[:2])
    if to_place < 0.06 and not grasped:
        return np.array([*place[:2], CARRY_M]), False
    if grasped:
        return _carry(hand, pick, place)
    height = max(float(truth["pick_top"][0]) - REACH_M, FLOOR_M)
    grasp = np.array([pick[0] + _sidestep(pick, height, truth["others"]), pick[1], height])
    error = np.linalg.norm(hand[:2] - grasp[:2])
    low = hand[2] - grasp[2] < 0.03
    if error < ALIGNED_M or (low and error < 2 * ALIGNED_M):
        # Closed only at the bottom; a gripper half closed higher up would push the object over.
        return grasp, hand[2] - grasp[2] < 0.008
    height = grasp[2] + HOVER_M
    if error > 0.08:
        height += 0.04
    return np.array([*grasp[:2], max(height, hand[2] if error > 0.03 and low else 0.0)]), False


def _sidestep(pick: np.ndarray, height: float, others: np.ndarray) -> float:
    """Shift of the grasp along x (m) that keeps the palm off neighbours taller than it will be.

    `others` is float64[n, 3]: x, y and top of every other object. Only low things need it, and they are long in x.
    """
    away = pick[:2] - others[:, :2]
    close = (abs(away[:, 0]) < 0.13) & (abs(away[:, 1]) < 0.15) & (others[:, 2] > height + 0.035)
    return float(np.clip(np.sign(away[close, 0]).sum(), -1, 1)) * SIDESTEP_M if pick[2] < 0.03 else 0.0


def _carry(hand: np.ndarray, pick: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, bool]:
    """Straight up, across at carrying height, then let go over the container."""
    held = pick[:2] - hand[:2]
    goal = place[:2] - held
    error = np.linalg.norm(hand[:2] - goal)
    if error < OVER_M:
        return np.array([*goal, CARRY_M]), False
    if hand[2] < CARRY_M - 0.06:
        return np.array([*hand[:2], CARRY_M + 0.02]), True
    return np.array([*goal, CARRY_M]), True
