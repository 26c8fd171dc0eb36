"""The timing pass at the end of a run: full precision and its variants, in turns, on what the policy really saw."""

from __future__ import annotations

import json
from collections.abc import Mapping

from bench.errors import UsageError
from bench.folder import RunFolder, write_json
from bench.player import prepared
from bench.policies import policy_entry
from bench.recorders import load_observations
from bench.records import RunStore
from bench.spec import BenchSpec
from bench.timing.claims import no_claim
from bench.timing.interleave import ROUNDS, interleaved, timing_json
from bench.timing.place import cannot_move, move
from bench.timing.probe import TimingProbe, devices, open_probe
from bench.timing.stages import stage_times
from envs.types import Observation
from policies.registry import policy_class


def time_variants(spec: BenchSpec, store: RunStore) -> list[str]:
    """Time every variant where this machine can and has not yet; return why a device that it has was left out.

    All variants are in memory at once, so a machine must hold them together.
    """
    policy = spec.variants[0].policy
    if len(spec.variants) < 2 or not policy_entry(policy).quantizable:
        return []
    broken, present = _probes()
    skipped, probes = [f"{device}: {reason}" for device, reason in broken.items()], []
    for probe in present:
        reason = cannot_move(policy_class(policy_entry(policy)), policy, probe)
        if reason is not None:
            skipped.append(f"{probe.device}: {reason}")
        elif not _timed(store.folder, probe.device, spec):
            probes.append(probe)
    if probes:
        _measure(spec, store, probes)
    return skipped


def _probes() -> tuple[dict[str, str], list[TimingProbe]]:
    """Plug-ins that cannot be loaded, with the reason; and of the probes that time one and the same device of this
    machine the most special one."""
    broken: dict[str, str] = {}
    found: dict[str, TimingProbe] = {}
    for device in devices():
        try:
            probe = open_probe(device)
        except UsageError as error:
            broken[device] = str(error)
            continue
        if probe.torch_device not in found and probe.unavailable() is None:
            found[probe.torch_device] = probe
    return broken, list(found.values())


def _measure(spec: BenchSpec, store: RunStore, probes: list[TimingProbe]) -> None:
    inputs = _stored_observations(spec, store)
    if not inputs:
        return
    policies, audits = {}, {}
    for variant in spec.variants:
        policies[variant.variant_id], audits[variant.variant_id] = prepared(spec, variant, store.folder)
        policies[variant.variant_id].reset(next(iter(spec.episodes())).noise_key())
    steps = {vid: lambda observation, policy=policy: policy.act([observation]) for vid, policy in policies.items()}
    for probe in probes:
        for policy in policies.values():
            move(policy, probe)
        found = {v.variant_id: no_claim(v, audits[v.variant_id], policies[v.variant_id]) for v in spec.variants}
        claims = {vid: reason for vid, reason in found.items() if reason is not None}
        samples = interleaved(probe, steps, inputs)
        content = timing_json(probe.device, spec.threads, samples, spec.variants[0].variant_id, claims)
        content["stages"] = {vid: stage_times(probe, policies[vid].module, step, inputs) for vid, step in steps.items()}
        write_json(store.folder.timing(probe.device), content)


def _stored_observations(spec: BenchSpec, store: RunStore) -> list[Observation]:
    """One observation of each of the first full-precision episodes, from ever later in the episode."""
    files = [store.folder.observations(key) for key in sorted(store.keys())
             if key.variant_id == spec.variants[0].variant_id]
    inputs = []
    for index, path in enumerate(files[:ROUNDS]):
        observations = load_observations(path)[0]
        inputs.append(observations[index % len(observations)])
    return inputs


def _timed(folder: RunFolder, device: str, spec: BenchSpec) -> bool:
    path = folder.timing(device)
    if not path.exists():
        return False
    content: Mapping = json.loads(path.read_text())
    return set(content["variants"]) == {v.variant_id for v in spec.variants}
