"""How an episode is played, as data: the habits of the published evaluation scripts side by side.

A profile has two halves. The fields of `Protocol` itself are obeyed by `bench.rollout`, whatever the policy. Its
`inputs` are what the published checkpoints were trained with; the harness cannot give them to a network that was
trained otherwise, so they are compared with what the policy declares, and `deviations` goes into the header of the run
and into its report.

Read in these scripts (file, commit): OpenVLA `experiments/robot/libero/run_libero_eval.py`; OpenVLA-OFT, the same file
and `libero_utils.py`, `robot_utils.py`, `openvla_utils.py` (moojink/openvla-oft 213c5ff); openpi
`examples/libero/main.py` (15a9616); LeRobot `src/lerobot/envs/{libero,configs}.py`, `scripts/lerobot_eval.py`
(7427f31); Isaac-GR00T `gr00t/eval/sim/LIBERO/libero_env.py` and the command of `examples/LIBERO/README.md`. All of them
use LIBERO's OSC_POSE control at 20 Hz and end an episode at the first success, so that is not a field. Nor is the
number of trials (50 per task everywhere but in GR00T's command): it is the user's, and stands beside every figure as n.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bench.errors import UsageError
from bench.spec import EpisodeKey
from envs.registry import suite_name
from policies.conventions import INSTRUCTION, OPEN_CLOSE, OPEN_ONE, OPENVLA_PROMPT, POSE_AND_FINGERS, Conventions

SEED_STEP = 1000
"""By how much another seed of the run shifts seeds that a profile fixes: more than a task has init states."""

_CAPS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400, "toy": 80}
"""OpenVLA's caps, which OFT and openpi share: somewhat above the longest demonstration (193, 254, 270, 505, 373). The
toy world is ours."""


@dataclass(frozen=True)
class Protocol:
    """One published way to evaluate."""

    name: str
    """Name of the profile."""
    settle_steps: int
    """Control steps with the hold action after a reset, so that objects come to rest; not part of the episode."""
    max_steps: Mapping[str, int]
    """Suite -> control steps after which an episode without success is a failure."""
    replan_every: int
    """Actions of a chunk that are executed before the policy looks again; a shorter chunk is executed whole."""
    binarize_gripper: bool
    """Whether the gripper number is replaced by its sign before it is executed."""
    official_init_states: bool
    """Whether episodes begin at LIBERO's stored init states; if not, placements are drawn from the seed."""
    env_seed: int | None
    """Seed of what an init state leaves open (fixtures), as published; None if the script sets none."""
    env_seed_every: str | None
    """"episode": init state i of every task is reset with `env_seed` + i. "task": the script seeds once, so what it
    places depends on how many resets went before. That, and no seed at all, cannot follow from an episode's key; then
    the key's own seed is used and the run says so."""
    policy_seed: int | None
    """Seed of the noise of a policy that samples, as published: one stream over all episodes. Here noise follows from
    the episode's key, and a run of a policy that samples says so."""
    inputs: Conventions
    """What the published checkpoints were trained with; see `deviations`."""

    def cap(self, suite: str) -> int:
        """The step cap of `suite`; raises `UsageError` if the profile has none."""
        suite = suite_name(suite)
        if suite not in self.max_steps:
            raise UsageError(f"protocol {self.name!r} has no step cap for suite {suite!r}; "
                             f"it has caps for {', '.join(self.max_steps)}")
        return self.max_steps[suite]

    def reset_seed(self, key: EpisodeKey) -> int:
        """31 bits for the reset of the episode `key`; equal for every variant."""
        if self.env_seed is None or self.env_seed_every != "episode":
            return key.env_seed()
        return (self.env_seed + key.init_state + SEED_STEP * key.seed) % 2**31

    def init_state(self, key: EpisodeKey) -> int | None:
        """The official init state to begin at, None for a drawn placement."""
        return key.init_state if self.official_init_states else None

    def deviations(self, policy: str, trained_on: Conventions | None) -> list[str]:
        """What keeps runs of `policy` from being the published evaluation, a sentence each; empty if nothing does."""
        found = self._differences(policy, trained_on)
        if self.env_seed_every != "episode":
            published = "no seed" if self.env_seed is None else f"seed {self.env_seed} once per task"
            found.append(f"placements: {published} in the published script, here each follows from the episode's key")
        if self.policy_seed is not None and trained_on is not None and trained_on.sampling:
            found.append(f"noise: seed {self.policy_seed} for all episodes in the published script, here the noise of "
                         "each follows from its key")
        return found

    def _differences(self, policy: str, trained_on: Conventions | None) -> list[str]:
        if trained_on is None:
            return [f"policy {policy!r} does not declare what it was trained on, so its inputs cannot be compared with "
                    "those of the protocol"]
        pairs = [(f.name, getattr(self.inputs, f.name), getattr(trained_on, f.name)) for f in fields(Conventions)]
        return [f"{name}: {_text(wanted)} in the protocol, {_text(has)} for policy {policy!r}"
                for name, wanted, has in pairs if wanted is not None and has is not None and wanted != has]

    def to_json(self) -> dict[str, Any]:
        """Plain data for the header."""
        return json.loads(json.dumps(asdict(self)))


def _text(value: Any) -> str:
    return (" + ".join(value) or "none") if isinstance(value, tuple) else json.dumps(value)


_VLA = Conventions(
    cameras=("agentview", "wrist"), image_size=256, mirrored=True, jpeg=True, resize="lanczos3 to 224", crop_area=0.9,
    state=POSE_AND_FINGERS, prompt=OPENVLA_PROMPT, horizon=8, gripper=OPEN_ONE, sampling=False)
"""OpenVLA-OFT: LIBERO at 256 pixels turned by 180 degrees (mirrored), through JPEG, lanczos3 to 224, centre crop of
0.9 of the area (a side of sqrt 0.9); the network's gripper in [0, 1], 1 open, is scaled to +-1, binarized, inverted."""

PROTOCOLS: Mapping[str, Protocol] = {p.name: p for p in (
    # Seeds 7 (numpy, torch, Python) and env.seed(0) when a task's environment is made; chunks of 8 in open loop.
    Protocol("oft", 10, _CAPS, 8, True, True, 0, "task", 7, _VLA),
    # One camera, no proprioception, one action at a time; the rest is what OFT took over.
    Protocol("openvla", 10, _CAPS, 1, True, True, 0, "task", 7,
             Conventions(("agentview",), 256, True, True, "lanczos3 to 224", 0.9, "none", _VLA.prompt, 1, _VLA.gripper,
                         False)),
    # The same with caps of its own, one action at a time out of the windows of all decisions so far, latent actions
    # drawn at a temperature.
    Protocol("univla", 10, {**_CAPS, "libero_spatial": 240, "libero_object": 300, "libero_goal": 320, "libero_10": 550,
                            "libero_90": 420}, 1, True, True, 0, "task", 7,
             Conventions(("agentview",), 256, True, True, "lanczos3 to 224", 0.9, "none", _VLA.prompt, 1, _VLA.gripper,
                         True)),
    # `replan_steps` 5 of 10 actions, `resize_with_pad` 224, seed 7 for numpy and the environment; the actions are
    # the environment's own.
    Protocol("openpi", 10, _CAPS, 5, False, True, 7, "task", 7,
             Conventions(("agentview", "wrist"), 256, True, False, "pad to 224", 1.0, POSE_AND_FINGERS, INSTRUCTION, 10,
                         OPEN_CLOSE, True)),
    # TASK_SUITE_MAX_STEPS gives spatial 280; 360 pixels; seed 1000 + episode at each reset; the documentation's
    # command replans every 10 actions (the default of `n_action_steps` is 50). Resizing and cropping are the policy's.
    Protocol("lerobot", 10, {**_CAPS, "libero_spatial": 280}, 10, False, True, 1000, "episode", 1000,
             Conventions(("agentview", "wrist"), 360, True, False, None, None, POSE_AND_FINGERS, INSTRUCTION, None,
                         OPEN_CLOSE, None)),
    # Random resets, no settling, no seed, 720 steps for every suite, 8 of 16 actions; what the script calls roll, pitch
    # and yaw is the axis-angle vector; the gripper is scaled, binarized and inverted. The model's transform crops.
    Protocol("groot", 0, {**{suite: 720 for suite in _CAPS}, "toy": 80}, 8, True, False, None, None, None,
             Conventions(("agentview", "wrist"), 256, True, None, None, None, POSE_AND_FINGERS, INSTRUCTION, 16,
                         _VLA.gripper, True)),
)}
"""Profile name -> profile; the first is the default."""
