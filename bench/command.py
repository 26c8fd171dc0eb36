"""The `bench` command: names to a spec, a spec to records, records to reports."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.doctor import Circumstances, ensure_healthy, renderer_of
from bench.errors import UsageError, lookup, unknown
from bench.folder import RunFolder
from bench.latency import parse_latency
from bench.policies import full_name, policy_entry
from bench.pool import suite_entry, suite_module
from bench.protocol import PROTOCOLS
from bench.provenance import code, commit, machine, packages, usable_cpus
from bench.records import RunHeader, RunStore
from bench.saved import calibration_episodes, named_folder, saved_config
from bench.serve.remote import trained_on
from bench.sources.source import refuse_overlap
from bench.spec import FULL_PRECISION, REPEAT, STOPS, BenchSpec
from bench.variants import make_variants, package_root, split_methods
from envs.registry import suite_name
from policies.registry import POLICIES

DEFAULT_METHOD = "qvla"
"""The method that runs when none is named, if the policy has a network to quantize."""

RUNNERS = ("local", "ray")
"""Where episodes are played: on this machine, or on those of a Ray cluster."""


def bench(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run, report, print the table and the JSON line; return the exit code."""
    spec = make_spec(args)
    folder = run_folder(args.run or default_name(spec), args.runs_dir)
    header = make_header(spec, circumstances(spec, args), arguments)
    from bench.run import outstanding_errors, run
    from bench.speed import time_variants

    deviations = header.protocol["deviations"]
    if deviations:
        print(f"not protocol {spec.protocol!r} as published: {len(deviations)} deviations, listed in the report",
              file=sys.stderr)
    with RunStore(folder, header) as store:
        missing = run(spec, store, not args.quiet, args.timeout_s, args.isolate, args.workers, args.runner)
        for reason in time_variants(spec, store):
            print(f"speed not measured on {reason}", file=sys.stderr)
        errors = outstanding_errors(store)
        if args.shadow:
            from bench.shadow import shadow_variants

            shadow_variants(spec, store, shown=not args.quiet)
        report(folder, ladder=args.shadow)
        if args.out is not None and not missing:
            from bench.baseline import least_pairs, write_baseline

            made = write_baseline(Path(args.out), spec, store)
            print(f"wrote {made.path} with {len(made.recorded)} recorded episodes", file=sys.stderr)
            if len(made.outcomes) < least_pairs(spec.margin_points):
                print(f"{len(made.outcomes)} episodes are enough for the fast mode of `check`; its closed-loop mode "
                      f"needs {least_pairs(spec.margin_points)} or more for a margin of {spec.margin_points:g} points",
                      file=sys.stderr)
    for record in errors:
        print(f"error in {record.key.variant_id} {record.key.pair}: {record.reason}", file=sys.stderr)
    if missing:
        print(f"{len(missing)} episodes have no outcome ({len(errors)} ended in an error); the same command runs them "
              "again", file=sys.stderr)
    return 1 if missing else 0


def report(folder: Path, ladder: bool = False) -> None:
    """Write videos and reports from the files of a run; print the table (and the ladder), then the summary."""
    from reports.console import console_ladder, console_table
    from reports.review.write import write_review
    from reports.video import write_videos
    from reports.write import read_summary, write_reports

    if RunFolder(folder).frames_folder.is_dir():
        write_videos(folder)
    write_reports(folder)
    write_review(folder)
    print(console_table(folder))
    if ladder:
        print(f"\n{console_ladder(folder)}\n")
    print(json.dumps(read_summary(folder), allow_nan=False))


def make_spec(args: argparse.Namespace) -> BenchSpec:
    """The spec that the command line means. Names are checked before anything heavy is imported."""
    suite_entry(args.suite)
    suite = suite_name(args.suite)
    lookup("protocol", args.protocol, PROTOCOLS)
    assets, stepping = legal_assets(suite, args.assets), legal_stepping(suite, args.stepping)
    if args.runner not in RUNNERS:
        raise UsageError(unknown("runner", args.runner, RUNNERS))
    workers = 1 if args.workers is None else args.workers
    if workers < 1 or not args.timeout_s > 0:
        raise UsageError(f"legal are workers of 1 or more and timeout-s above 0, got {workers} and "
                         f"{args.timeout_s:g}")
    batch = args.batch or (1 if args.policy_device == "cpu" else workers)
    if batch < 1 or (batch > 1 and args.runner != "local"):
        raise UsageError(f"legal is a batch of 1 or more, and of 1 with runner {args.runner!r}, whose players have a "
                         f"policy each; got {batch}")
    if args.stop not in STOPS:
        raise UsageError(unknown("stop", args.stop, STOPS))
    saved = named_folder(args.policy)
    policy = legal_policy(suite, args.policy if saved is None else saved_config(saved).origin.policy)
    default = DEFAULT_METHOD if policy_entry(policy).quantizable and saved is None else FULL_PRECISION
    variants = make_variants(policy, [*([REPEAT] if args.aa else []), *split_methods(args.method or default)], saved)
    tasks = suite_module(suite).tasks(suite)
    chosen = parse_tasks(args.tasks, len(tasks))
    most = min(tasks[index].init_states for index in chosen)
    if args.trials > most:
        raise UsageError(f"suite {suite!r} has {most} official init states per task, so trials is 1..{most}, "
                         f"got {args.trials}")
    spec = BenchSpec(
        suite=suite, tasks=chosen, variants=variants, trials=args.trials, seed=args.seed, protocol=args.protocol,
        assets=assets, threads=max(usable_cpus() // workers, 1) if args.threads is None else args.threads,
        divergence_mm=args.divergence_mm, video=args.video, allow_unsupported=args.allow_unsupported,
        margin_points=args.margin, stop=args.stop,
        latency=parse_latency(args.latency, variants), stepping=stepping, device=args.policy_device, batch=batch)
    if saved is not None:
        refuse_overlap(f"{saved}", calibration_episodes(saved), spec.episodes())
    return spec


def circumstances(spec: BenchSpec, args: argparse.Namespace) -> Circumstances:
    """What the run will stand on; checked unless --no-doctor, which the header's command line then shows."""
    if args.no_doctor:
        return Circumstances(renderer_of(spec.suite, args.any_mujoco),
                             suite_module(spec.suite).assets_stamp(spec.assets))
    return ensure_healthy(spec.suite, spec.assets, args.any_mujoco, args.runs_dir,
                          lambda line: print(line, file=sys.stderr))


def header_of(spec: BenchSpec, any_mujoco: bool = False) -> RunHeader:
    """The header of a run that no command line describes."""
    found = Circumstances(renderer_of(spec.suite, any_mujoco), suite_module(spec.suite).assets_stamp(spec.assets))
    return make_header(spec, found, ())


def make_header(spec: BenchSpec, found: Circumstances, arguments: Sequence[str]) -> RunHeader:
    """The spec with everything that a stranger needs to know of its circumstances."""
    head, dirty = commit(package_root())
    return RunHeader(
        spec=spec, assets=found.assets,
        protocol=stamped_protocol(spec), machine=machine(), packages=packages(),
        code=code(package_root()), commit=head, dirty=dirty,
        renderer=found.renderer, args=tuple(arguments), created=datetime.now(UTC).isoformat(timespec="seconds"))


def stamped_protocol(spec: BenchSpec) -> dict[str, Any]:
    """The profile in full, with what keeps this policy's run from being the published evaluation."""
    protocol, baseline = PROTOCOLS[spec.protocol], spec.variants[0]
    return {**protocol.to_json(), "deviations": protocol.deviations(baseline.policy, trained_on(baseline))}


def legal_policy(suite: str, name: str | None) -> str:
    """The full name of `name`, or of the suite's default policy.

    Raises `UsageError` unless the policy was made for the suite. A checkpoint that must be fetched is nobody's default.
    """
    made = [policy for policy, entry in POLICIES.items() if suite in entry.suites]
    if not made:
        known = dict.fromkeys(s for entry in POLICIES.values() for s in entry.suites)
        raise UsageError(f"no policy was made for {suite!r} yet; suites with one: {', '.join(known)}")
    if name is None:
        shipped = (policy for policy in made if POLICIES[policy].quantizable and POLICIES[policy].takes is None)
        default = next(shipped, None)
        if default is None:
            raise UsageError(f"no policy that can be quantized is shipped for {suite!r} yet; name one of these: "
                             + ", ".join(made))
        return default
    entry = policy_entry(name, suite)
    if suite not in entry.suites:
        raise UsageError(f"policy {name!r} was made for {', '.join(entry.suites)}, not for {suite!r}; policies for it: "
                         + ", ".join(made))
    return full_name(name, suite)


def legal_assets(suite: str, name: str | None) -> str:
    """`name`, or the suite's default asset pack."""
    legal = suite_entry(suite).assets
    if name is not None and name not in legal:
        raise UsageError(unknown(f"asset pack of {suite!r}", name, legal))
    return name or legal[0]


def legal_stepping(suite: str, name: str | None) -> str:
    """`name`, or the suite's default way to compute the physics."""
    legal = suite_entry(suite).stepping
    if name is not None and name not in legal:
        raise UsageError(unknown(f"stepping of {suite!r}", name, legal))
    return name or legal[0]


def parse_tasks(text: str | None, count: int) -> tuple[int, ...]:
    """Ascending indices of a list such as "0,2,5-7"; all of 0 .. count - 1 for None."""
    if text is None:
        return tuple(range(count))
    chosen: set[int] = set()
    for part in re.split(r"[\s,]+", text.strip()):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match:
            raise UsageError(f"tasks {text!r}: {part!r} is neither an index nor a range such as 5-7")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UsageError(f"tasks {text!r}: the range {part!r} ends before it begins")
        if last >= count:
            raise UsageError(f"tasks {text!r}: {part!r} leaves the suite's indices 0..{count - 1}")
        chosen |= set(range(first, last + 1))
    return tuple(sorted(chosen))


def default_name(spec: BenchSpec) -> str:
    """A name that the same command always gives, so that it resumes its own run."""
    methods = [v.method for v in spec.variants if not v.baseline] or [FULL_PRECISION]
    return "-".join(re.sub(r"[^A-Za-z0-9_.=]+", "-", part) for part in (spec.suite, spec.variants[0].policy, *methods))


def run_folder(name: str, runs_dir: str) -> Path:
    """The folder of the run `name`; a path to an existing folder names itself."""
    if "/" in name and Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[A-Za-z0-9_.=-]*[A-Za-z0-9]", name):
        raise UsageError(f"run name {name!r} has other characters than letters, digits, '_', '.', '=', '-'")
    return Path(runs_dir) / name
