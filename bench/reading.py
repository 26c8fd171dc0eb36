"""The commands that only read what was written before: `report`, `merge`, `review`, `verify`, `trials`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_reading(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of these commands."""
    report = commands.add_parser("report", help="write the reports and videos of a run again")
    report.add_argument("--timings", nargs="+", default=[], metavar="FILE",
                        help="files of `qvla-bench time`, made on other devices, of the variants of this run")
    report.set_defaults(command=_report)
    merge = commands.add_parser("merge", help="put several runs together as one, with one report")
    merge.add_argument("runs", nargs="+", help="names of runs, or their folders")
    merge.add_argument("--runs-dir", default="runs", help="folder of all runs (default: %(default)s)")
    merge.add_argument("--out", required=True, help="name of the merged run, or its folder")
    merge.add_argument("--force", action="store_true",
                       help="merge runs of other assets, protocols or versions; the report says so")
    merge.set_defaults(command=_merge)
    review = commands.add_parser("review", help="write a page on which the episodes of a run are watched and labelled")
    review.set_defaults(command=_review)
    verify = commands.add_parser("verify", help="compute the reports of a run from its records again and compare them")
    verify.set_defaults(command=_verify)
    for command in (report, review, verify):
        command.add_argument("run", help="name of a run, or its folder")
        command.add_argument("--runs-dir", default="runs", help="folder of all runs (default: %(default)s)")
    trials = commands.add_parser("trials", help="rates, intervals and verdicts of trials on a real robot")
    take = trials.add_subparsers(required=True, metavar="ACTION").add_parser(
        "import", help="read a CSV file: task, method, setting, trial, success, seconds, note")
    take.add_argument("file", help="the CSV file, a row per trial")
    take.add_argument("--out", help="folder of the report (default: trials/FILE)")
    take.add_argument("--baseline", default="fp", help="method the others are compared with (default: %(default)s)")
    take.add_argument("--margin", type=float, default=2.0, help="points by which a method may be worse "
                      "(default: %(default)s)")
    take.add_argument("--paired", action="store_true",
                      help="trials with equal names began from equal placements, so compare them in pairs")
    take.set_defaults(command=_trials)


def existing_run(name: str, runs_dir: str) -> Path:
    """The folder of a run that was begun; raises `UsageError` if there is none."""
    from bench.command import run_folder
    from bench.errors import UsageError

    folder = run_folder(name, runs_dir)
    if not (folder / "header.json").is_file():
        raise UsageError(f"{folder} is not a run folder: it has no header.json")
    return folder


def _report(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.command import report
    from bench.errors import UsageError
    from reports.timings import WrongTiming, attach_timing

    folder = existing_run(args.run, args.runs_dir)
    try:
        for file in args.timings:
            attach_timing(folder, file)
    except WrongTiming as error:
        raise UsageError(str(error)) from error
    report(folder)
    return 0


def _merge(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.command import report, run_folder
    from bench.errors import UsageError
    from reports.merge import CannotMerge, merge_runs

    folders = [existing_run(name, args.runs_dir) for name in args.runs]
    out = Path(args.out) if "/" in args.out else run_folder(args.out, args.runs_dir)
    try:
        merge_runs(folders, out, args.force)
    except CannotMerge as error:
        raise UsageError(str(error)) from error
    report(out)
    return 0


def _review(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from reports.review.write import write_review

    page = write_review(existing_run(args.run, args.runs_dir))
    print(f"open {page} in a browser; the run folder can be copied with it")
    return 0


def _verify(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from reports.verify import verify

    folder = existing_run(args.run, args.runs_dir)
    found = verify(folder)
    print("\n".join(found) or f"{folder}: every table, plot and page is what the records give")
    return 1 if found else 0


def _trials(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.errors import UsageError
    from reports.trials.read import TrialsError
    from reports.trials.write import import_trials

    folder = Path(args.out) if args.out else Path("trials") / Path(args.file).stem
    try:
        print(import_trials(args.file, folder, args.baseline, args.margin, args.paired))
    except TrialsError as error:
        raise UsageError(str(error)) from error
    return 0
