"""Policies that run on a server: its metadata is their identity, and its failures are errors with reasons."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.policies import policy_entry
from bench.spec import SERVER, PolicyVariant
from policies.conventions import Conventions

if TYPE_CHECKING:  # it needs the extra, and names are checked before that
    from policies.remote.policy import RemotePolicy

FAMILY = "remote:"
"""How the names of such policies begin."""
MODULES = ("msgpack", "websockets")
"""What the extra `serve` brings."""


def require_extra() -> None:
    """Raise `UsageError` if the packages of the extra are not installed."""
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        raise UsageError(f"serving and remote policies need {' and '.join(missing)}: pip install 'qvla-bench[serve]'")


def server_config(policy: str) -> dict[str, Any]:
    """What a variant's config has of a server, which is asked for it now; empty for a policy that runs here.

    Raises `UsageError` if nobody answers at its address.
    """
    if not policy.startswith(FAMILY):
        return {}
    asked = _open(policy)
    asked.close()
    return {SERVER: dict(asked.facts.metadata)}


def connected(variant: PolicyVariant) -> RemotePolicy:
    """The policy of a remote variant; raises `UsageError` if the server is gone or serves something else now."""
    policy = _open(variant.policy)
    if dict(policy.facts.metadata) != variant.config[SERVER]:
        policy.close()
        raise UsageError(f"{variant.policy} serves {policy.facts.name} now, which is not what {variant.variant_id} was "
                         "made of; start the former server again, or name a new run (RUN=...)")
    return policy


def trained_on(variant: PolicyVariant) -> Conventions | None:
    """What the policy of a variant declares that it was trained on, by itself or by its server's metadata."""
    if SERVER not in variant.config:
        return policy_entry(variant.policy).trained_on
    from policies.remote.facts import understand

    return understand(variant.config[SERVER]).trained_on


def _open(name: str) -> RemotePolicy:
    require_extra()
    from policies.remote.connection import RemoteError
    from policies.remote.policy import RemotePolicy

    try:
        return RemotePolicy(name.removeprefix(FAMILY))
    except RemoteError as error:
        raise UsageError(str(error)) from error
