"""Who moves the robot while data are collected: "expert", a policy of the registry, or a checkpoint folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError, unknown
from policies.registry import POLICIES, policy_class

if TYPE_CHECKING:  # it imports torch, and names are checked before that
    from policies.base import Policy

EXPERT = "expert"
"""The privileged expert, disturbed."""


def describe(driver: str) -> str:
    """"expert", or name and digest: what a round is remembered by. Raises `UsageError` for what is none of the three.

    Trained again, a policy is another driver: the digest covers sizes and weights.
    """
    if driver == EXPERT:
        return driver
    folder = _folder(driver)
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UsageError(f"driver {driver!r}: {folder / name} is missing")
        digest.update((folder / name).read_bytes())
    return f"{driver if driver in POLICIES else folder.name} {digest.hexdigest()[:16]}"


def _folder(driver: str) -> Path:
    from bench.variants import package_root

    if driver in POLICIES:
        weights = POLICIES[driver].weights
        if weights is None:
            raise UsageError(f"driver {driver!r} has no weights and cannot be trained; DRIVER={EXPERT} is the expert")
        return package_root() / weights
    if Path(driver).is_dir():
        return Path(driver)
    raise UsageError(unknown("driver", driver, (EXPERT, *(n for n, e in POLICIES.items() if e.weights)))
                     + ", or a checkpoint folder")


def load(driver: str) -> Policy | None:
    """The policy on one thread, None for the expert."""
    if driver == EXPERT:
        return None
    import torch

    torch.set_num_threads(1)
    if driver in POLICIES:
        return policy_class(POLICIES[driver])()
    return _from_folder(Path(driver))


def _from_folder(folder: Path) -> Policy:
    from policies.pocket.oft import PocketOFT

    return PocketOFT(folder)
