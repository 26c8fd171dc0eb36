"""The `time` command: variants on the device at hand, without a simulator, as a file that a report takes in."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.folder import write_json
from bench.policies import first_quantizable, policy_entry, quantizable
from bench.provenance import commit, machine, packages, usable_cpus
from bench.saved import named_folder, saved_config
from bench.spec import PolicyVariant
from bench.timing.claims import no_claim
from bench.timing.energy import energy
from bench.timing.interleave import interleaved, timing_json
from bench.timing.place import cannot_move, move
from bench.timing.probe import TimingProbe, open_probe
from bench.timing.stages import alone_bytes, stage_times
from bench.variants import build, make_variants, package_root, require_supported, split_methods

SCHEMA_VERSION = 1
"""Layout of the file; readers refuse another."""

NOISE_KEY = (0, 0, 0, 0)
"""Every variant draws the same noise; which, does not change how long it takes."""


def time_command(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Time, write the file, print a line per variant and, last, one JSON line."""
    probe = open_probe(args.device)
    reason = probe.unavailable()
    if reason is not None:
        raise UsageError(f"device {args.device!r} cannot be timed here: {reason}")
    out = Path(args.out or f"timing-{probe.device}.json")
    if out.exists():
        raise UsageError(f"{out} exists; timings are never replaced unasked, name another file with --out")
    variants = _variants(args)
    content = measure(probe, variants, args.rounds, args.threads or usable_cpus())
    head, dirty = commit(package_root())
    content |= {"machine": machine(), "packages": packages(), "commit": head, "dirty": dirty, "args": list(arguments),
                "created": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(out, content)
    for variant in variants:
        timed = content["variants"][variant.variant_id]
        print(f"{variant.variant_id:24} {timed['median_ms']:9.3f} ms median, {timed['p90_ms']:9.3f} / "
              f"{timed['p95_ms']:9.3f} / {timed['p99_ms']:9.3f} ms 90th / 95th / 99th percentile, "
              f"{len(timed['samples_ms'])} decisions")
    print(json.dumps({"file": str(out), "device": probe.device, "speedup": content["speedup"]}))
    return 0


def measure(probe: TimingProbe, variants: Sequence[PolicyVariant], rounds: int, threads: int) -> dict[str, Any]:
    """The content of the file, but for where and when it was made.

    Raises `UsageError` if the policy cannot be moved to the device or ships no observations.
    """
    import torch

    from bench.timing.work import count_work, roofline

    torch.set_num_threads(threads)
    policies, claims, memory = {}, {}, {}
    for variant in variants:
        policy, audit = build(variant)
        reason = cannot_move(policy, variant.policy, probe)
        if reason is not None:
            raise UsageError(reason)
        require_supported(variant, audit)
        policy.reset(NOISE_KEY)
        first = _observations(policy, variant.policy, 1)
        memory[variant.variant_id] = alone_bytes(probe, lambda policy=policy: move(policy, probe),
                                                 lambda policy=policy, first=first: policy.act(first))
        policies[variant.variant_id] = policy
        if (claim := no_claim(variant, audit, policy)) is not None:
            claims[variant.variant_id] = claim
    inputs = _observations(policies[variants[0].variant_id], variants[0].policy, rounds)
    steps = {vid: lambda observation, policy=policy: policy.act([observation]) for vid, policy in policies.items()}
    with probe.watch() as watch:
        samples = interleaved(probe, steps, inputs, rounds)
    content = timing_json(probe.device, threads, samples, variants[0].variant_id, claims)
    estimates = {vid: roofline(count_work(policies[vid].module, lambda step=step: step(inputs[0])), probe.peaks,
                               probe.device) for vid, step in steps.items()}
    return {
        "schema_version": SCHEMA_VERSION, **content,
        "identities": {v.variant_id: {"policy": v.policy, "weights": v.weights, "method": v.method,
                                      "config": dict(v.config)} for v in variants},
        "facts": probe.facts(), "during": watch.to_json(), "inputs": "calibration observations of the policy",
        "stages": {vid: stage_times(probe, policies[vid].module, step, inputs) for vid, step in steps.items()},
        "memory": memory, "energy": {vid: energy(probe, step, inputs) for vid, step in steps.items()},
        "estimates": estimates,
    }


def _variants(args: argparse.Namespace) -> tuple[PolicyVariant, ...]:
    """Full precision first, as in a run: a speed-up is only measured where both take turns."""
    saved = named_folder(args.policy)
    name = args.policy if saved is None else saved_config(saved).origin.policy
    policy = name or first_quantizable()
    method = args.method or ("qvla" if saved is None else "fp")
    variants = make_variants(policy, split_methods(method), saved)
    if not policy_entry(policy).quantizable:
        raise UsageError(f"policy {policy!r} has no network to time; policies with one: "
                         f"{', '.join(quantizable())}")
    return variants if args.baseline else variants[1:] or variants


def _observations(policy: Any, name: str, rounds: int) -> list[Any]:
    if not hasattr(policy, "calibration_observations"):
        raise UsageError(f"policy {name!r} ships no observations that it could be timed on; give it a method "
                         "`calibration_observations`")
    observations = policy.calibration_observations()[0]
    return observations[::max(1, len(observations) // rounds)][:rounds]
