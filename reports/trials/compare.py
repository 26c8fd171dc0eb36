"""Rates, intervals and verdicts of trials on a real robot, by the rules of simulated episodes.

Trials are compared in pairs only if the experimenter says that equal trial names began from equal placements; else
they are two independent groups, which takes many more of them to show anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from reports.difference import changes_of, noninferiority_p, paired_interval
from reports.statistics import holm, mcnemar_p, wilson_interval
from reports.trials.read import Trial, TrialsError
from reports.trials.unpaired import difference_interval, difference_p, worse_p
from reports.verdict import verdict

Arm = tuple[str, str]
"""Method and setting."""


@dataclass(frozen=True)
class Against:
    """A method beside the baseline."""

    difference_points: float
    """Success rate minus that of the baseline over all trials that are compared, in percentage points."""
    interval_points: tuple[float, float]
    """95 % interval of the difference."""
    compared: tuple[int, int]
    """Trials of the baseline and of the method that are compared; equal numbers if paired."""
    different_p: float
    """Two-sided p of "no difference", adjusted for the number of methods (Holm)."""
    noninferior_p: float
    """One-sided p of "worse by the margin or more", adjusted likewise."""
    verdict: str
    """In the words of `reports.verdict.verdict`."""


@dataclass(frozen=True)
class ArmResult:
    """What the trials of one method and setting gave."""

    method: str
    """The method."""
    setting: str
    """The setting, may be empty."""
    per_task: dict[str, tuple[int, int]]
    """Task -> successes, trials; a task without a trial is not in it."""
    wilson95: tuple[float, float]
    """95 % Wilson interval over all trials, as fractions."""
    seconds: tuple[float, int] | None
    """Median seconds of the successes that were timed, and how many were; None if none was."""
    against: Against | None
    """None for the baseline."""

    @property
    def successes(self) -> int:
        """Over all tasks."""
        return sum(s for s, _ in self.per_task.values())

    @property
    def n(self) -> int:
        """Trials over all tasks."""
        return sum(n for _, n in self.per_task.values())


def compare_trials(trials: Sequence[Trial], baseline: str, margin_points: float, paired: bool) -> list[ArmResult]:
    """The baseline first, then the other methods in the order of the trials.

    Raises `TrialsError` if `baseline` is no method of the trials or has several settings, if a method was not tried on
    the tasks of the baseline, or if pairs are asked for and trial names do not match.
    """
    arms = list(dict.fromkeys((t.method, t.setting) for t in trials))
    first = _baseline(arms, baseline)
    others = [arm for arm in arms if arm != first]
    margin = margin_points / 100
    if not 0 < margin < 1:
        raise TrialsError(f"margin {margin_points} is illegal: legal is more than 0 and less than 100 points")
    answers = [_answer(_of(trials, first), _of(trials, arm), arm, margin, paired) for arm in others]
    different, noninferior = (holm([answer[i] for answer in answers]) for i in (3, 4))
    results = [_result(_of(trials, first), first, None)]
    for arm, (change, interval, compared, _, _), p, q in zip(others, answers, different, noninferior, strict=True):
        against = Against(100 * change, (100 * interval[0], 100 * interval[1]), compared, p, q, verdict(change, p, q))
        results.append(_result(_of(trials, arm), arm, against))
    return results


def _baseline(arms: Sequence[Arm], name: str) -> Arm:
    methods = list(dict.fromkeys(method for method, _ in arms))
    found = [arm for arm in arms if arm[0] == name]
    if not found:
        near = difflib.get_close_matches(name, methods, n=1, cutoff=0.5)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise TrialsError(f"no trial has method {name!r};{hint} name the baseline with --baseline, methods are "
                          f"{', '.join(methods)}")
    if len(found) > 1:
        raise TrialsError(f"baseline {name!r} has several settings: {', '.join(repr(s) for _, s in found)}; a baseline "
                          "has one, call the others by another method name")
    return found[0]


def _of(trials: Sequence[Trial], arm: Arm) -> list[Trial]:
    return [t for t in trials if (t.method, t.setting) == arm]


def _answer(reference: list[Trial], tried: list[Trial], arm: Arm, margin: float,
            paired: bool) -> tuple[float, tuple[float, float], tuple[int, int], float, float]:
    """Difference, interval, numbers compared, and the two p-values before adjustment."""
    name = " ".join(filter(None, arm))
    missing = {t.task for t in reference} ^ {t.task for t in tried}
    if missing:
        raise TrialsError(f"{name!r} and the baseline were tried on different tasks: only one of them on "
                          f"{', '.join(sorted(missing))}; leave these rows out")
    if paired:
        before, after = ({(t.task, t.trial): t.success for t in group} for group in (reference, tried))
        odd = sorted(before.keys() ^ after.keys())
        if odd:
            raise TrialsError(f"{name!r} and the baseline cannot be paired: task {odd[0][0]!r} trial {odd[0][1]!r} is "
                              f"in one of them only ({len(odd)} such trials); compare without --paired")
        changes = changes_of([task for task, _ in before], list(before.values()), [after[key] for key in before])
        return (changes.difference, paired_interval(changes), (changes.n, changes.n),
                mcnemar_p(changes.repaired, changes.regressed), noninferiority_p(changes, margin))
    successes = (sum(t.success for t in reference), sum(t.success for t in tried))
    n = (len(reference), len(tried))
    return (successes[1] / n[1] - successes[0] / n[0], difference_interval(successes, n), n,
            difference_p(successes, n), worse_p(successes, n, margin))


def _result(tried: list[Trial], arm: Arm, against: Against | None) -> ArmResult:
    tasks = dict.fromkeys(t.task for t in tried)
    per_task = {task: (sum(t.success for t in tried if t.task == task), sum(t.task == task for t in tried))
                for task in tasks}
    timed = [t.seconds for t in tried if t.success and t.seconds is not None]
    return ArmResult(*arm, per_task, wilson_interval(sum(t.success for t in tried), len(tried)),
                     (median(timed), len(timed)) if timed else None, against)
