"""One check of the machine, and how a list of them is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What one look at the machine found."""

    name: str
    """What was looked at."""
    state: Literal["ok", "absent", "FAILED"]
    """"absent": there was nothing to check, or it is not needed; only "FAILED" keeps a run from starting."""
    detail: str
    """What was found."""
    mend: str | None = None
    """What to do about a failure, None if `detail` says so."""


def text(checks: Sequence[Check]) -> str:
    """A line per check, and the mend of a failure below it."""
    lines = []
    for check in checks:
        lines.append(f"{check.state:<7} {check.name}: {check.detail}")
        if check.mend is not None:
            lines.append(f"        mend: {check.mend}")
    return "\n".join(lines)
