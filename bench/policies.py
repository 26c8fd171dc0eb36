"""Names of policies: one of the registry, or `FAMILY:WHAT` where an entry of the registry takes something."""

from __future__ import annotations

from bench.errors import UsageError, lookup
from policies.registry import POLICIES, PolicyEntry, resolved


def policy_entry(name: str, suite: str | None = None) -> PolicyEntry:
    """The entry of `name`, with its argument in full form, for a run of `suite` if there is one.

    Raises `UsageError` with the legal names and the near match for an unknown policy, and for an illegal argument.
    """
    family, colon, typed = name.partition(":")
    entry = lookup("policy", family, POLICIES)
    if entry.takes is None:
        if colon:
            raise UsageError(f"policy {family!r} takes nothing behind a colon, got {typed!r}")
        return entry
    try:
        return resolved(entry, typed, suite)
    except ValueError as error:
        raise UsageError(f"policy {name!r}: {error}") from error


def full_name(name: str, suite: str | None = None) -> str:
    """The name under which `name` is recorded: what decides the policy is in it. Raises `UsageError` as above."""
    entry = policy_entry(name, suite)
    return name if entry.argument is None else f"{name.partition(':')[0]}:{entry.argument}"


def of_registry(name: str) -> bool:
    """Whether `name` belongs to the registry, whatever stands behind its colon."""
    family, colon, _ = name.partition(":")
    return family in POLICIES and (not colon or POLICIES[family].takes is not None)


def quantizable() -> list[str]:
    """Names of the registry whose policies have a network that a quantizer may rewrite."""
    return [name for name, entry in POLICIES.items() if entry.quantizable]


def first_quantizable() -> str:
    """The first of them that needs nothing behind a colon."""
    return next(name for name in quantizable() if POLICIES[name].takes is None)
