"""Names of policies, as users type them, to their entries."""

from __future__ import annotations

from bench.errors import UsageError, unknown
from policies.registry import FAMILIES, POLICIES, PolicyEntry, find_entry


def policy_entry(name: str, what: str = "policy") -> PolicyEntry:
    """The entry of a policy's name; raises `UsageError` with the legal names and the near match."""
    entry = find_entry(name)
    if entry is not None:
        return entry
    if name.removesuffix(":") in FAMILIES:
        family = name.removesuffix(":")
        raise UsageError(f"{what} {family!r} needs a name behind a colon, as in {family}:NAME; it needs "
                         f"{FAMILIES[family].needs}")
    raise UsageError(unknown(what, name, (*POLICIES, *(f"{family}:..." for family in FAMILIES))))
