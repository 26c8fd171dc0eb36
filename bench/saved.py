"""Saved quantized networks as things under test: `--policy variants/NAME` runs one beside the policy it came from."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.policies import of_registry, policy_entry
from bench.spec import PolicyVariant
from policies.registry import policy_class
from quantizers.saved import AUDIT, SavedConfig, StorageError, folder_bytes, read_config

if TYPE_CHECKING:  # it imports torch, and names are checked before that
    from policies.base import Policy

VARIANTS = Path("variants")
"""Where `qvla-bench quantize` writes unless it is told otherwise, and what `qvla-bench list` shows."""
SAVED = "saved"
"""Method name of a variant that is loaded instead of made: `saved:FOLDER`."""


def named_folder(policy: str | None) -> Path | None:
    """The folder that a policy's name means, None if it is a name of the registry or should have been one."""
    if policy is None or of_registry(policy):
        return None
    folder = Path(policy)
    return folder if "/" in policy or (folder / "config.json").is_file() else None


def saved_config(folder: Path) -> SavedConfig:
    """What was saved in `folder`; raises `UsageError` if it is no saved variant of a registered policy."""
    if not folder.is_dir():
        beside = [f"{folder.parent / name}" for name in _saved_names(folder.parent)]
        near = difflib.get_close_matches(str(folder), beside, n=1, cutoff=0.5)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"there is no folder {folder};{hint} `qvla-bench list` shows what is saved in {VARIANTS}")
    try:
        config = read_config(folder)
    except StorageError as error:
        raise UsageError(str(error)) from error
    try:
        entry = policy_entry(config.origin.policy)
    except UsageError as error:
        raise UsageError(f"{folder} was made from a policy that is not known here: {error}") from error
    if not entry.quantizable:
        raise UsageError(f"policy {config.origin.policy!r} of {folder} has no network to quantize")
    return config


def saved_variant(folder: Path, weights: str | None) -> PolicyVariant:
    """The variant that `folder` holds; its identity is what is in the folder, not where it lies.

    `weights` is the digest of the policy's checkpoint as it is now. Raises `UsageError` if the variant was made from
    another one, for it would be compared with a network that it does not come from.
    """
    config = saved_config(folder)
    origin = config.origin
    if origin.weights != weights:
        raise UsageError(f"{folder} was made from weights {str(origin.weights)[:12]} of {origin.policy!r}, the "
                         f"full-precision weights here are {str(weights)[:12]}; quantize again with --method "
                         f"'{origin.method}'")
    identity = {"method": SAVED, "digest": config.digest, "quantized": dict(config.quantization_config["config"])}
    return PolicyVariant(origin.policy, weights, f"{SAVED}:{folder}", identity)


def load_saved(variant: PolicyVariant) -> tuple[Policy, dict[str, Any]]:
    """The policy around the saved network, and the audit as JSON.

    Raises `UsageError` if the folder is damaged, or is not the one that the variant was made of.
    """
    folder = Path(variant.method.partition(":")[2])
    config = saved_config(folder)
    if config.digest != variant.config["digest"]:
        raise UsageError(f"{folder} was replaced since {variant.variant_id} was named; name a new run (RUN=...)")
    try:
        return load_network(variant.policy, folder)
    except StorageError as error:
        raise UsageError(str(error)) from error


def load_network(policy: str, folder: Path) -> tuple[Policy, dict[str, Any]]:
    """The registered policy around the network saved in `folder`, and the audit as JSON.

    Raises StorageError if the folder is damaged or describes a network that the policy cannot build.
    """
    from quantizers.storage import load_quantized_

    config = read_config(folder)
    try:
        made = policy_class(policy_entry(policy)).skeleton(config.origin.network)
    except (TypeError, ValueError) as error:
        raise StorageError(f"{folder} describes a network that {policy!r} cannot build: {error}") from error
    return made, load_quantized_(made.module, folder).to_json()


def calibration_episodes(folder: Path) -> tuple[str, ...]:
    """The episodes that a saved variant was calibrated on; raises `UsageError` if its audit cannot be read."""
    try:
        return tuple(json.loads((folder / AUDIT).read_bytes()).get("calibration_episodes", ()))
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{folder / AUDIT} cannot be read: {error}; save the network again") from error


def saved_listing(parent: Path) -> dict[str, str]:
    """Folder name -> what is saved in it, for every saved variant directly below `parent`."""
    table = {}
    for name in _saved_names(parent):
        try:
            origin = saved_config(parent / name).origin
            table[name] = f"{origin.policy} {origin.method}; {folder_bytes(parent / name):,} bytes"
        except UsageError as error:
            table[name] = f"cannot be used: {error}"
    return table


def _saved_names(parent: Path) -> list[str]:
    return sorted(path.parent.name for path in parent.glob("[!.]*/config.json"))
