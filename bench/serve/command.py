"""The `serve` command: a policy, quantized or not, behind openpi's websocket protocol."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import logging
import os
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.policies import full_name, policy_entry
from bench.provenance import usable_cpus
from bench.saved import named_folder, saved_config
from bench.serve.remote import FAMILY, require_extra
from bench.spec import PolicyVariant
from bench.variants import build, make_variants, require_supported, split_methods
from policies.registry import PolicyEntry

if TYPE_CHECKING:  # they import torch or the extra, and names are checked before that
    from bench.serve.server import PolicyServer, ServerSettings
    from policies.base import Policy


@dataclass(frozen=True)
class Offer:
    """What is going to be served."""

    variant: PolicyVariant
    """The policy and its quantization."""
    entry: PolicyEntry
    """The policy's entry."""
    threads: int
    """CPU threads of the policy."""


def serve(args: argparse.Namespace) -> int:
    """Serve until interrupted; return the exit code. Names and numbers are checked before the policy is built."""
    require_extra()
    offer, settings = make_offer(args.policy, args.method, args.threads), _settings(args)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    policy, audit = build(offer.variant)
    if not args.allow_unsupported:
        require_supported(offer.variant, audit)
    _place(policy, offer.variant.policy, args.device)
    server = make_server(offer, policy, settings)
    if settings.token is None and not _loopback(settings.host):
        print(f"anyone who reaches {settings.host}:{settings.port} may ask this policy; --token asks for a token",
              file=sys.stderr)

    def started(port: int) -> None:
        line = {"url": f"ws://{settings.host}:{port}", "policy": offer.variant.policy, "method": offer.variant.method,
                "variant_id": offer.variant.variant_id}
        print(f"serving {offer.variant.policy} {offer.variant.method} at {line['url']} until Ctrl-C", file=sys.stderr)
        print(json.dumps(line), flush=True)

    try:
        asyncio.run(server.run(started))
    except OSError as error:
        raise UsageError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; name another "
                         "--host or --port, or --port 0 for any free one") from error
    return 0


def make_offer(policy: str | None, method: str | None, threads: int | None) -> Offer:
    """What the names mean; raises `UsageError` for what cannot be served."""
    saved = named_folder(policy)
    name = policy if saved is None else saved_config(saved).origin.policy
    if name is None:
        raise UsageError("name the --policy to serve, see `qvla-bench list`")
    entry, name = policy_entry(name), full_name(name)
    if name.startswith(FAMILY):
        raise UsageError(f"policy {name!r} is served already; clients can connect there")
    if entry.trained_on is not None and entry.trained_on.cameras == ():
        raise UsageError(f"policy {name!r} reads simulator truth, which no client can send")
    if saved is not None and method not in (None, "fp"):
        raise UsageError(f"{saved} is quantized already; leave --method out")
    methods = split_methods(method or "fp")
    if len(methods) != 1:
        raise UsageError(f"method must be one method, got {methods}; one server serves one")
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be 1 or more, got {threads}")
    variants = make_variants(name, methods, saved)
    return Offer(variants[1] if saved is not None else variants[-1], entry, threads or usable_cpus())


def make_server(offer: Offer, policy: Policy, settings: ServerSettings) -> PolicyServer:
    """The server around a policy that was built."""
    from bench.serve.served import ServedPolicy
    from bench.serve.server import PolicyServer
    from policies.remote.facts import describe

    trained_on, variant = offer.entry.trained_on, offer.variant
    identity = {"version": package_version(), "policy": variant.policy, "method": variant.method,
                "variant_id": variant.variant_id, "weights": variant.weights, "config": dict(variant.config)}
    metadata = describe(f"{variant.policy} {variant.method}", policy.image_size, policy.action_spec, trained_on,
                        identity)
    served = ServedPolicy(policy, None if trained_on is None else trained_on.cameras,
                          sampling=trained_on is None or trained_on.sampling is not False)
    return PolicyServer(served, metadata, settings, lambda: _threads(offer.threads))


def package_version() -> str:
    """The version of this package."""
    try:
        return version("qvla-bench")
    except PackageNotFoundError:
        return "not installed"


def _settings(args: argparse.Namespace) -> ServerSettings:
    from bench.serve.server import ServerSettings
    from policies.remote.connection import TOKEN_VARIABLE

    if not 0 <= args.port < 65536 or args.max_batch < 1 or not 0 <= args.max_wait_ms <= 10_000 or \
            not 0 < args.max_message_mb <= 1024:
        raise UsageError("legal are port 0..65535, max-batch of 1 or more, max-wait-ms 0..10000 and max-message-mb "
                         f"above 0 up to 1024, got {args.port}, {args.max_batch}, {args.max_wait_ms:g} and "
                         f"{args.max_message_mb:g}")
    return ServerSettings(args.host, args.port, args.token or os.environ.get(TOKEN_VARIABLE) or None, args.max_batch,
                          args.max_wait_ms / 1e3, int(args.max_message_mb * 2**20))


def _place(policy: Any, name: str, device: str) -> None:
    from policies.base import MovablePolicy

    if isinstance(policy, MovablePolicy):
        try:
            policy.to(device)
        except (RuntimeError, AssertionError) as error:  # torch has both for a device that is not there
            raise UsageError(f"policy {name!r} cannot be put on --device {device}: {error}") from error
    elif device != "cpu":
        raise UsageError(f"policy {name!r} runs on the CPU only: it has no method `to`, which would move it to "
                         f"{device!r}")


def _threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)  # holds for the thread that says it


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
