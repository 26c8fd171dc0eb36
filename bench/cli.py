"""The command line, `qvla-bench` or `python -m bench`. Nothing heavy is imported before a command needs it.

Exit codes: 0 done; 1 episodes ended in an error or are missing, or a check failed; 2 the command is not legal;
130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.making import add_making
from bench.reading import add_reading
from bench.serve.options import add_serve


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(arguments)
    from bench.errors import BenchError
    from envs.types import EnvironmentError_, SpecMismatch

    try:
        _give_official(args)
        return args.command(args, arguments)
    except (BenchError, EnvironmentError_, SpecMismatch) as error:
        print(f"qvla-bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qvla-bench", description="Closed-loop benchmark for quantized vision-language-action policies.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_bench(commands)
    _add_check(commands)
    add_making(commands)
    listing = commands.add_parser("list", help="suites, policies, methods, saved variants, protocols and devices")
    listing.set_defaults(command=_list)
    protocol = commands.add_parser("protocol", help="show how a profile plays episodes, or what sets two apart")
    actions = protocol.add_subparsers(required=True, metavar="ACTION")
    for action, names in (("show", ("A",)), ("diff", ("A", "B"))):
        asked = actions.add_parser(action)
        for name in names:
            asked.add_argument(name, help="name of a profile, see `qvla-bench list`")
        asked.set_defaults(command=_protocol, action=action)
    _add_time(commands)
    add_serve(commands)
    add_reading(commands)
    for name in ("preflight", "doctor"):
        check = commands.add_parser(name, help="check versions, renderer, assets, pictures, an episode, disk space")
        check.add_argument("--suite", help="check only this suite (default: all)")
        check.add_argument("--assets", help="asset pack (default: each suite's first)")
        _add_official(check)
        check.add_argument("--runs-dir", default="runs", help="folder of all runs (default: %(default)s)")
        check.add_argument("--any-mujoco", action="store_true", help="accept another MuJoCo than the pinned one")
        check.set_defaults(command=_doctor)
    assets = commands.add_parser("assets", help="where the scenes' asset files are")
    assets.add_argument("action", choices=["path"])
    assets.add_argument("--suite", default="libero_object", help="default: %(default)s")
    assets.add_argument("--assets", help="asset pack (default: the suite's first)")
    _add_official(assets)
    assets.set_defaults(command=_assets)
    return parser


def _add_bench(commands: argparse._SubParsersAction) -> None:
    bench = commands.add_parser(
        "bench", help="run a suite with full precision and quantized variants; resumes what was interrupted",
        description="Runs full precision and every METHOD on the same episodes. The same command again goes on where "
                    "it stopped. The last line on stdout is one JSON object.")
    bench.set_defaults(command=_bench, shadow=False, out=None)
    drift = commands.add_parser(
        "drift", help="the same run, and the drift ladder: recorded, teacher in control, closed loop",
        description="Does what `bench` does with the same options, or takes its run over, then plays full precision "
                    "once more while every variant is asked what it would do, and prints every rung of drift.")
    drift.set_defaults(command=_bench, shadow=True, out=None)
    baseline = commands.add_parser(
        "baseline", help="the same run, and the file that `check` compares later variants with",
        description="Does what `bench` does with the same options for one method or saved variant, or takes its run "
                    "over, and writes what a later variant must hold to.")
    baseline.add_argument("--out", default="baseline.json", help="file to write (default: %(default)s)")
    baseline.set_defaults(command=_bench, shadow=False)
    for command in (bench, drift, baseline):
        _add_run_options(command)


def _add_check(commands: argparse._SubParsersAction) -> None:
    check = commands.add_parser(
        "check", help="regression gate for CI: is a saved variant as good as the baseline?",
        description="Exit code 0 if the variant passes, 1 if not, 2 if the two cannot be compared.")
    check.add_argument("--policy", required=True, help="folder of a saved variant")
    check.add_argument("--baseline", default="baseline.json", help="default: %(default)s")
    check.add_argument("--mode", default="fast", help="fast: drift on recorded observations, no simulator; "
                       "closed-loop: play the episodes and prove non-inferiority (default: %(default)s)")
    check.add_argument("--junit", metavar="FILE", help="write JUnit XML")
    check.add_argument("--markdown", metavar="FILE", help="write the summary, for instance to $GITHUB_STEP_SUMMARY")
    check.add_argument("--runs-dir", default="runs", help="folder of all runs (default: %(default)s)")
    check.add_argument("--quiet", action="store_true", help="no progress bar")
    check.set_defaults(command=_check)


def _add_run_options(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("--suite", required=True, help="see `qvla-bench list`")
    bench.add_argument("--method",
                       help="methods separated by blanks or commas, each NAME or NAME:option,option (default: qvla, or "
                            "fp for a saved variant or a policy without a network); full precision, fp, always runs")
    bench.add_argument("--policy", help="name of a policy, or folder of a saved quantized variant, which then runs "
                       "beside its policy in full precision (default: the first policy made for the suite)")
    bench.add_argument("--trials", type=int, default=2, help="official init states per task (default: %(default)s)")
    bench.add_argument("--tasks", help="task indices, such as 0,2,5-7 (default: all)")
    bench.add_argument("--run", help="name of the run folder (default: made of suite, policy and methods)")
    bench.add_argument("--runs-dir", default="runs", help="folder of all runs (default: %(default)s)")
    bench.add_argument("--assets", help="asset pack, builtin or official (default: the suite's first)")
    _add_official(bench)
    bench.add_argument("--stepping", help="how physics are computed, fast or exact: equal to the stock environment up "
                       "to rounding, or in every bit (default: the suite's first)")
    bench.add_argument("--protocol", default="oft", help="how episodes are played (default: %(default)s)")
    bench.add_argument("--seed", type=int, default=0, help="every random number derives from it (default: %(default)s)")
    bench.add_argument("--threads", type=int, help="CPU threads of the policy (default: all usable CPUs, dealt to "
                       "the workers)")
    bench.add_argument("--video", action=argparse.BooleanOptionalAction, default=True,
                       help="film init state 0 of every task (default: on)")
    bench.add_argument("--divergence-mm", type=float, default=5.0,
                       help="distance at which two trajectories have parted (default: %(default)s)")
    bench.add_argument("--aa", action="store_true",
                       help="play full precision a second time: what it differs by is the noise of the comparison")
    bench.add_argument("--latency", default="paused",
                       help="simulated time that a decision takes: paused, fixed:MS, or device:FILE with times "
                       "measured there, such as a run's timings/DEVICE.json (default: %(default)s)")
    bench.add_argument("--margin", type=float, default=2.0,
                       help="percentage points by which a method may be worse and still be non-inferior "
                       "(default: %(default)s)")
    bench.add_argument("--stop", default="never",
                       help="sequential: end each comparison as soon as its verdict is certain (default: %(default)s)")
    bench.add_argument("--allow-unsupported", action="store_true",
                       help="run a variant although its method cannot quantize a layer that it wanted")
    bench.add_argument("--any-mujoco", action="store_true", help="accept another MuJoCo than the pinned one")
    bench.add_argument("--no-doctor", action="store_true",
                       help="go on although the checks of `doctor` do not pass; the header shows it")
    bench.add_argument("--workers", type=int,
                       help="processes that play at the same time; results are equal for equal --threads "
                       "(default: 1, or what the cluster has room for)")
    bench.add_argument("--policy-device", default="cpu", help="where the policy computes, as torch.device names it "
                       "(default: %(default)s)")
    bench.add_argument("--batch", type=int, help="decisions of several workers made by one call of the policy; 1 is "
                       "exact (default: 1 on the CPU, elsewhere as many as there are workers)")
    bench.add_argument("--runner", default="local", help="local: on this machine; ray: on the Ray cluster that "
                       "RAY_ADDRESS or a running `ray start` names, with equal results (default: %(default)s)")
    bench.add_argument("--isolate", action="store_true",
                       help="keep the environments in a process of their own, whose death is an error of one episode")
    bench.add_argument("--timeout-s", type=float, default=300.0,
                       help="seconds without a decision or a step after which an episode hangs (default: %(default)s)")
    bench.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_official(command: argparse.ArgumentParser) -> None:
    command.add_argument("--official-assets", metavar="DIR",
                         help="LIBERO's asset folder for --assets official (default: $LIBERO_ASSETS, or a download)")


def _give_official(args: argparse.Namespace) -> None:
    """Let every process of this command find the folder of --official-assets."""
    folder = getattr(args, "official_assets", None)
    if folder is None:
        return
    import os

    from bench.errors import UsageError
    from envs.libero.official import VARIABLE

    if args.assets != "official":
        raise UsageError(f"--official-assets {folder} says where the official assets are, which only --assets official "
                         f"uses; got --assets {args.assets}")
    os.environ[VARIABLE] = folder


def _add_time(commands: argparse._SubParsersAction) -> None:
    timing = commands.add_parser(
        "time", help="time variants on the device at hand, without a simulator",
        description="Times full precision and every METHOD in turns on this machine and writes a file that `report "
                    "--timings FILE` puts beside the success of the same variants. The last line is one JSON object.")
    timing.add_argument("--policy", help="name of a policy, or folder of a saved quantized variant (default: the first "
                        "policy with a network)")
    timing.add_argument("--method", help="methods as for `bench` (default: qvla, or fp for a saved variant)")
    timing.add_argument("--device", default="auto", help="see `qvla-bench list` (default: the most special one here)")
    timing.add_argument("--out", help="new JSON file (default: timing-DEVICE.json)")
    timing.add_argument("--rounds", type=int, default=40, help="decisions of each variant (default: %(default)s)")
    timing.add_argument("--threads", type=int, help="CPU threads (default: all usable CPUs)")
    timing.add_argument("--baseline", action=argparse.BooleanOptionalAction, default=True,
                        help="time full precision too; without it there is no speed-up (default: on)")
    timing.set_defaults(command=_time)


def _bench(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.command import bench

    return bench(args, arguments)


def _check(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.check import command

    return command(args)


def _time(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.timing.command import time_command

    return time_command(args, arguments)


def _list(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.listing import listing

    print(listing())
    return 0


def _protocol(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.profiles import diff, show

    print(show(args.A) if args.action == "show" else diff(args.A, args.B))
    return 0


def _doctor(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.checks import text
    from bench.command import legal_assets
    from bench.doctor import examine
    from envs.registry import SUITES, suite_name

    having = tuple(suite for suite, entry in SUITES.items() if args.assets in (None, *entry.assets))
    suites = having if args.suite is None else (suite_name(args.suite),)
    for suite in suites or tuple(SUITES):
        legal_assets(suite, args.assets)
    checks = examine(suites, args.assets, args.any_mujoco, args.runs_dir)
    print(text(checks))
    return 1 if any(check.state == "FAILED" for check in checks) else 0


def _assets(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.command import legal_assets
    from bench.pool import suite_module

    kind = legal_assets(args.suite, args.assets)
    folder = suite_module(args.suite).assets_folder(kind)
    print(folder if folder is not None else f"suite {args.suite!r} needs no asset files")
    return 0
