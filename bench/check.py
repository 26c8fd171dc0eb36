"""Is a saved variant still good enough? A gate for continuous integration, in this and in other repositories.

`fast` needs no simulator: the variant answers recorded observations, and may drift little more than the accepted one.
`closed-loop` plays the baseline's episodes with full precision and the variant, and asks for proof of non-inferiority:
without enough evidence the gate stays shut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from bench.baseline import Baseline, drift_figures, least_pairs, read_baseline
from bench.errors import UsageError, unknown
from bench.saved import saved_variant
from bench.spec import PolicyVariant
from bench.variants import make_variants

if TYPE_CHECKING:
    from argparse import Namespace

MODES = ("fast", "closed-loop")
"""What a check can do."""
WORDS = {"translation_mm": "mean command deviation, mm", "rotation_deg": "mean command deviation, degrees",
         "flips_per_100": "gripper flips per 100 actions", "summed_mm": "summed deviation over an episode, mm"}
"""Figure -> what it is."""


@dataclass(frozen=True)
class Finding:
    """One question that the gate asked."""

    name: str
    """The question."""
    passed: bool
    """Whether the answer is good enough."""
    detail: str
    """The figures behind it."""


def check(policy: Path, baseline: Path, mode: str = "fast", runs_dir: Path = Path("runs"),
          quiet: bool = True) -> list[Finding]:
    """Compare the variant saved in `policy` with `baseline`; the gate is open if every finding has passed.

    Raises `UsageError` if the two cannot be compared: another policy, other weights, a damaged file.
    """
    if mode not in MODES:
        raise UsageError(unknown("mode", mode, MODES))
    wanted = read_baseline(baseline)
    full = wanted.spec.variants[0]
    (now,) = make_variants(full.policy, ["fp"])
    if now.weights != full.weights:
        raise UsageError(f"{baseline} was made with weights {str(full.weights)[:12]} of {full.policy!r}, the ones here "
                         f"are {str(now.weights)[:12]}; make the baseline again")
    variant = saved_variant(policy, full.weights)
    if variant.policy != full.policy:
        raise UsageError(f"{policy} is a variant of {variant.policy!r}, {baseline} is about {full.policy!r}")
    return _fast(variant, wanted) if mode == "fast" else _closed_loop(variant, wanted, runs_dir, quiet)


def _fast(variant: PolicyVariant, wanted: Baseline) -> list[Finding]:
    import torch

    from bench.drift import teacher_forced
    from bench.variants import build

    torch.set_num_threads(wanted.spec.threads)
    policy, _ = build(variant)
    forced = [teacher_forced(policy, key, path) for key, path in wanted.observations()]
    measured = drift_figures(forced)
    return [Finding(WORDS[name], measured[name] <= limit,
                    f"{measured[name]:.4g}, at most {limit:.4g} (accepted: {wanted.accepted[name]:.4g})")
            for name, limit in wanted.limits.items()]


def _closed_loop(variant: PolicyVariant, wanted: Baseline, runs_dir: Path, quiet: bool) -> list[Finding]:
    from bench.command import header_of
    from bench.records import RunStore
    from bench.run import run
    from reports.load import load_run
    from reports.table import results

    spec = dataclasses.replace(wanted.spec, variants=(wanted.spec.variants[0], variant), video=False)
    planned, least = len(spec.tasks) * spec.trials, least_pairs(spec.margin_points)
    if planned < least:
        raise UsageError(f"{planned} episodes cannot show a margin of {spec.margin_points:g} points, whatever happens; "
                         f"it takes {least} or more: make the baseline with more trials or a wider margin")
    folder = runs_dir / f"check-{variant.variant_id}"
    with RunStore(folder, header_of(spec)) as store:
        missing = run(spec, store, not quiet)
        outcomes = {r.key.pair: r.outcome == "success" for r in store.records()
                    if r.key.variant_id == spec.variants[0].variant_id and r.outcome != "error"}
    changed = [pair for pair, success in outcomes.items() if wanted.outcomes.get(pair, success) != success]
    row = results(load_run(folder)).frame.loc[variant.variant_id]
    proven = row["verdict"] in ("better", "non-inferior", "worse, within margin")
    detail = "no pair of episodes" if row["verdict"] is None else (
        f"{row['verdict']}: {row['pairs']} pairs, {row['repaired']} repaired, {row['regressed']} regressed, difference "
        f"{row['difference_points']:+.1f} points ({row['difference_low']:+.1f} to {row['difference_high']:+.1f}), p "
        f"{row['noninferior_p']:.3g}; an equal variant takes about {row['pairs_for_margin']:,} pairs")
    return [
        Finding("every episode has an outcome", not missing, f"{len(missing)} have none; see {folder}"),
        Finding("full precision repeats the baseline", not changed,
                f"{len(changed)} of {len(outcomes)} outcomes changed: simulator, weights or machine are not the same"
                if changed else f"{len(outcomes)} outcomes are the same"),
        Finding(f"non-inferior within {spec.margin_points:g} points", proven, detail),
    ]


def junit(findings: Sequence[Finding], mode: str) -> str:
    """The findings as JUnit XML, a test case for each."""
    failed = sum(not f.passed for f in findings)
    suite = ElementTree.Element("testsuite", name="qvla-bench check", tests=str(len(findings)), failures=str(failed),
                                errors="0", skipped="0")
    for finding in findings:
        case = ElementTree.SubElement(suite, "testcase", classname=f"qvla_bench.{mode}", name=finding.name)
        if not finding.passed:
            ElementTree.SubElement(case, "failure", message=finding.detail)
        ElementTree.SubElement(case, "system-out").text = finding.detail
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def markdown(findings: Sequence[Finding], policy: Path, mode: str) -> str:
    """The findings as a GitHub summary."""
    word = "passed" if all(f.passed for f in findings) else "FAILED"
    lines = [f"### qvla-bench check ({mode}) {word}: `{policy}`", "", "| | Question | Answer |", "|:--|:--|:--|"]
    lines += [f"| {'ok' if f.passed else '**FAILED**'} | {f.name} | {f.detail} |" for f in findings]
    return "\n".join(lines) + "\n"


def command(args: Namespace) -> int:
    """`qvla-bench check`: print the summary, write the files that were asked for; 0 if the gate is open, else 1."""
    findings = check(Path(args.policy), Path(args.baseline), args.mode, Path(args.runs_dir), args.quiet)
    summary = markdown(findings, Path(args.policy), args.mode)
    for path, text in ((args.junit, junit(findings, args.mode)), (args.markdown, summary)):
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
    print(summary, end="")
    return 0 if all(f.passed for f in findings) else 1
