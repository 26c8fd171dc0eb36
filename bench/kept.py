"""The quantized networks of a run, made once and kept in its folder.

Whoever needs a variant afterwards loads it: the timing pass, the other workers, and the same command after an
interruption. What is loaded equals what was made bit for bit. The folders are those of `qvla-bench quantize`.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import StoreCorrupt
from bench.folder import RunFolder, full
from bench.saved import SAVED, load_network
from bench.spec import FULL_PRECISION, REPEAT, PolicyVariant
from bench.variants import build
from quantizers.saved import Origin, StorageError

if TYPE_CHECKING:
    from policies.base import Policy


def build_once(variant: PolicyVariant, folder: RunFolder) -> tuple[Policy, dict[str, Any] | None]:
    """As `bench.variants.build`; a variant that the run already made is loaded, whoever made it.

    Processes that ask at the same time wait for the first of them. Raises `StoreCorrupt` if what was kept is damaged,
    `StoreFull` if it cannot be written.
    """
    if variant.config["method"] in (FULL_PRECISION, REPEAT, SAVED):
        return build(variant)
    place = folder.variant(variant.variant_id)
    with _only_one(place):
        if place.exists():
            return _loaded(variant, place)
        policy, audit = build(variant)
        _keep(variant, policy, audit, place)
    return policy, audit


def _loaded(variant: PolicyVariant, place: Path) -> tuple[Policy, dict[str, Any]]:
    try:
        return load_network(variant.policy, place)
    except StorageError as error:
        raise StoreCorrupt(f"{error}; remove {place}, and the same command makes it again") from error


def _keep(variant: PolicyVariant, policy: Policy, audit: dict[str, Any], place: Path) -> None:
    from quantizers.audit import QuantAudit
    from quantizers.storage import save_quantized

    origin = Origin(variant.policy, variant.method, variant.weights, policy.network_config())
    try:
        save_quantized(policy.module, place, QuantAudit.from_json(audit), origin)
    except OSError as error:
        raise full(place, error) from error


@contextmanager
def _only_one(place: Path) -> Iterator[None]:
    """Wait until no other process is between these lines; the system lets go for a process that dies."""
    lock = place.with_name(f".{place.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
