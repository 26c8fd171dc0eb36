"""Where LeRobot's checkpoints for LIBERO lie. No torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from policies.errors import PolicyError
from policies.openvla.published import Family

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
"""Suites with a published checkpoint; those of pi0, pi0.5 and SmolVLA were trained on all four together."""


@dataclass(frozen=True)
class LeRobotFamily(Family):
    """Checkpoints of one of LeRobot's policies."""

    def resolve(self, typed: str, suite: str | None = None) -> str:
        """See `Family.resolve`; raises `PolicyError` without LeRobot, whose classes run the network."""
        if find_spec("lerobot") is None:
            raise PolicyError(
                "it runs in LeRobot's classes, which need Python 3.12 and an older torch than the rest: `make lerobot` "
                "installs them into an environment of their own, and `qvla-bench serve` there answers policies named "
                "remote:ws://HOST:PORT here")
        return super().resolve(typed, suite)


PI0 = LeRobotFamily("pi0", dict.fromkeys(SUITES, "lerobot/pi0_libero_finetuned"))
PI05 = LeRobotFamily("pi05", dict.fromkeys(SUITES, "lerobot/pi05_libero_finetuned"))
SMOLVLA = LeRobotFamily("smolvla", dict.fromkeys(SUITES, "HuggingFaceVLA/smolvla_libero"))
GROOT = LeRobotFamily("groot-n1.5", {
    "libero_spatial": "liorbenhorin-nv/groot-libero_spatial-128_20000",
    "libero_object": "liorbenhorin-nv/groot-libero_object-64_40000",
    "libero_goal": "aractingi/libero-groot-goal",
    "libero_10": "liorbenhorin-nv/groot-libero_10-64_40000"})
"""Those that there are in LeRobot's format; they are of its community."""
