"""Who moves the robot while data are collected: "expert", a policy of the registry, or a checkpoint under training.

A checkpoint is named POLICY:FOLDER, for example pocket-oft:data/pocket/stage0/weights.
"""

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
    name, folder = _parsed(driver)
    digest = hashlib.sha256()
    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise UsageError(f"driver {driver!r}: {folder / file} is missing")
        digest.update((folder / file).read_bytes())
    return f"{name} {digest.hexdigest()[:16]}"


def load(driver: str) -> Policy | None:
    """The policy on one thread, None for the expert."""
    if driver == EXPERT:
        return None
    import torch

    torch.set_num_threads(1)
    name, folder = _parsed(driver)
    return policy_class(POLICIES[name])(folder)


def _parsed(driver: str) -> tuple[str, Path]:
    """Name in the registry, and the folder of the weights."""
    from bench.variants import package_root

    legal = [name for name, entry in POLICIES.items() if entry.weights]
    name, _, folder = driver.partition(":")
    if name not in legal:
        raise UsageError(f"{unknown('driver', name, (EXPERT, *legal))}; POLICY:FOLDER names another checkpoint")
    return name, Path(folder) if folder else package_root() / POLICIES[name].weights
