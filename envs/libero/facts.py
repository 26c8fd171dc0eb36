"""What has to be known of a scene beyond its compiled model, and what can be read from a running one with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from envs.libero.goal import Condition, JointsAt, touching


@dataclass(frozen=True)
class Thing:
    """An object or a fixture."""

    body: int
    """Its root body."""
    geoms: tuple[int, ...]
    """Its collision geoms."""


@dataclass(frozen=True)
class Light:
    """A site that is shown while a joint is turned on: the burner of a stove."""

    site: int
    """The site."""
    when: JointsAt
    """The condition under which it is visible."""


@dataclass(frozen=True)
class SceneFacts:
    """Numbers of bodies, geoms, sites and addresses in one compiled model."""

    objects: Mapping[str, Thing]
    """Instance name -> movable object, in the order of the problem file."""
    fixtures: Mapping[str, Thing]
    """Instance name -> furniture, whose pose is drawn at every reset."""
    interest: tuple[str, ...]
    """The instances that the instruction speaks of."""
    goal: tuple[Condition, ...]
    """All must hold."""
    lights: tuple[Light, ...]
    """What shines while it is turned on."""
    hand_site: int
    """Site between the finger tips."""
    hand_body: int
    """Body whose orientation is the hand's."""
    fingers: tuple[int, int]
    """Where the finger joints are in qpos."""
    pads: tuple[tuple[int, ...], tuple[int, ...]]
    """Geoms of the left and of the right finger pad."""

    def goal_holds(self, data) -> bool:
        """Whether every condition of the goal holds."""
        return all(condition.holds(data) for condition in self.goal)


class Readings:
    """What both kinds of scene can tell and keep of their present state; they have `model`, `data` and `facts`.

    The stock environment takes its observation in the last but one physics step of an action, between integrating and
    the next forward pass: poses are those before that physics step, fingers those after it. `seen` is that moment.
    """

    _seen_qpos: np.ndarray
    """float64[nq]: positions that the cameras saw last."""
    _seen_fingers: np.ndarray
    """float64[2]: finger joints that were observed last."""
    _shown: object | None = None
    """A second `mujoco.MjData` of the model, in which `seen` is worked out when somebody asks."""

    def state(self) -> np.ndarray:
        """float32[8]: see `envs.types.STATE_DIM`."""
        return self._state_of(self.data, self.data.qpos[list(self.facts.fingers)])

    def seen_state(self) -> np.ndarray:
        """float32[8]: the state as the stock environment observes it."""
        return self._state_of(self.seen(), self._seen_fingers)

    def _state_of(self, data, fingers: np.ndarray) -> np.ndarray:
        position, turn = data.site_xpos[self.facts.hand_site], axis_angle(data.xquat[self.facts.hand_body])
        return np.concatenate([position, turn, fingers]).astype(np.float32)

    def seen(self):
        """The `mujoco.MjData` that cameras show, with poses only."""
        import mujoco

        if self._shown is None:
            self._shown = mujoco.MjData(self.model)
        self._shown.qpos[:] = self._seen_qpos
        mujoco.mj_kinematics(self.model, self._shown)
        mujoco.mj_camlight(self.model, self._shown)
        return self._shown

    def _see(self) -> None:
        """Take the present poses and fingers for what is seen."""
        self._seen_qpos, self._seen_fingers = self.data.qpos.copy(), self.data.qpos[list(self.facts.fingers)]

    def thing(self, instance: str) -> Thing:
        """The object or fixture of that name."""
        return self.facts.objects[instance] if instance in self.facts.objects else self.facts.fixtures[instance]

    def pose(self, instance: str) -> np.ndarray:
        """float64[7]: position (m) and quaternion (w, x, y, z) of an instance in the world."""
        body = self.thing(instance).body
        return np.concatenate([self.data.xpos[body], self.data.xquat[body]])

    def top(self, instance: str) -> float:
        """Height (m, world) of the highest point of an object's collision geoms, from their bounding boxes."""
        model, data, ids = self.model, self.data, list(self.thing(instance).geoms)
        rows = data.geom_xmat[ids].reshape(-1, 3, 3)[:, 2]
        centre, half = model.geom_aabb[ids, :3], model.geom_aabb[ids, 3:]
        return float((data.geom_xpos[ids, 2] + (rows * centre).sum(1) + (abs(rows) * half).sum(1)).max())

    def grasped(self, instance: str) -> bool:
        """True if both finger pads touch the object."""
        return all(touching(self.data, pad, self.thing(instance).geoms) for pad in self.facts.pads)

    def _physics(self) -> tuple:
        """Everything that MuJoCo integrates, the solver's warm start among it, and what is seen."""
        import mujoco

        spec = mujoco.mjtState.mjSTATE_INTEGRATION
        physics = np.empty(mujoco.mj_stateSize(self.model, spec))
        mujoco.mj_getState(self.model, self.data, physics, spec)
        return physics, self._seen_qpos.copy(), self._seen_fingers.copy(), self.model.site_rgba.copy()

    def _put_physics(self, saved: tuple) -> None:
        """Return to a `_physics` of this scene; going on from there repeats every bit."""
        import mujoco

        physics, qpos, fingers, self.model.site_rgba[:] = saved
        self._seen_qpos, self._seen_fingers = qpos.copy(), fingers.copy()
        spec = mujoco.mjtState.mjSTATE_INTEGRATION
        mujoco.mj_setState(self.model, self.data, physics, spec)
        mujoco.mj_forward(self.model, self.data)
        # The forward pass has replaced the solver's warm start, which is part of the state.
        mujoco.mj_setState(self.model, self.data, physics, spec)


SUBSTEPS = 25
"""Physics steps of 2 ms in a control step of 50 ms."""
SEEN_SUBSTEP = 23
"""Index of the physics step in which the stock environment looks, after one `set_init_state`."""


def axis_angle(quat: np.ndarray) -> np.ndarray:
    """float64[3], rad: rotation vector of a quaternion (w, x, y, z), as robosuite's `quat2axisangle` gives it."""
    w = min(max(quat[0], -1.0), 1.0)
    sine = np.sqrt(1.0 - w * w)
    return np.zeros(3) if sine == 0.0 else quat[1:] * 2.0 * math.acos(w) / sine
