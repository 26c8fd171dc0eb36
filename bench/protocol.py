"""How an episode is played, as data: the habits of the published evaluation scripts side by side.

Only what `bench.rollout` obeys is here. Image size is not: the environment renders what the policy asks for, so that
a small policy does not pay for 256 pixels that it would shrink. Sources: the evaluation scripts of OpenVLA
(`run_libero_eval.py`), OpenVLA-OFT (same name), openpi (`examples/libero/main.py`), LeRobot (`lerobot_eval.py`) and
Isaac-GR00T (its LIBERO README).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.errors import UsageError

_CAPS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400, "toy": 80}


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

    def cap(self, suite: str) -> int:
        """The step cap of `suite`; raises `UsageError` if the profile has none."""
        if suite not in self.max_steps:
            raise UsageError(f"protocol {self.name!r} has no step cap for suite {suite!r}; "
                             f"it has caps for {', '.join(self.max_steps)}")
        return self.max_steps[suite]

    def to_json(self) -> dict[str, Any]:
        """Plain data for the header."""
        return asdict(self)


PROTOCOLS: Mapping[str, Protocol] = {p.name: p for p in (
    Protocol("oft", 10, _CAPS, 8),
    Protocol("openvla", 10, _CAPS, 1),
    Protocol("openpi", 10, _CAPS, 5),
    Protocol("lerobot", 10, {**_CAPS, "libero_spatial": 280}, 10),
    Protocol("groot", 0, {**{suite: 720 for suite in _CAPS}, "toy": 80}, 8),
)}
"""Profile name -> profile; the first is the default."""
