"""The commands that make variants without playing: `quantize`, `export` of what it saved, and `layout`, a dry run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_making(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of these commands."""
    _add_quantize(commands)
    _add_export(commands)
    layout = commands.add_parser("layout", help="every Linear of a policy, and what a method would make of it")
    layout.add_argument("--policy", help="default: the first policy with a network to quantize")
    layout.add_argument("--method", default="qvla", help="one method (default: qvla)")
    layout.set_defaults(command=_layout)


def _add_quantize(commands: argparse._SubParsersAction) -> None:
    quantize = commands.add_parser(
        "quantize", help="quantize a policy and save it as files that `bench --policy FOLDER` runs",
        description="Saves packed weights, a config and an audit. The last line on stdout is one JSON object.")
    quantize.add_argument("--policy", help="default: the first policy with a network to quantize")
    quantize.add_argument("--method", default="qvla", help="one method, NAME or NAME:option,option (default: qvla)")
    quantize.add_argument("--out", help="new folder (default: variants/POLICY-METHOD)")
    quantize.add_argument("--calibration", metavar="FILE|FOLDER",
                          help="JSON Lines file of image paths and prompts, LeRobot data set, folder of training "
                          "decisions, or run with recorded observations (default: the policy's own training-side "
                          "observations)")
    quantize.add_argument("--calibration-samples", type=int, metavar="N",
                          help="observations that are taken (default: all of the policy's own, 64 of another source)")
    quantize.add_argument("--calibration-choice", default="spread",
                          help="which are taken: spread, random or first (default: %(default)s)")
    quantize.add_argument("--cameras", metavar="CAMERA=NAME,...",
                          help="names of the policy's cameras in the calibration source, where they differ")
    quantize.add_argument("--seed", type=int, default=0, help="of a random choice (default: %(default)s)")
    quantize.add_argument("--threads", type=int, help="CPU threads (default: all usable CPUs)")
    quantize.add_argument("--allow-unsupported", action="store_true",
                          help="save although the method cannot quantize a layer that it wanted")
    quantize.set_defaults(command=_quantize)


def _add_export(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser(
        "export", help="write a saved variant in a layout that other software reads",
        description="Uniform W8A8 and W4A16 variants can leave. The last line on stdout is one JSON object.")
    export.add_argument("--policy", required=True, help="folder of a saved quantized variant")
    export.add_argument("--format", default="compressed-tensors", help="the layout (default: %(default)s, which vLLM "
                        "and transformers read)")
    export.add_argument("--out", required=True, help="new folder")
    export.set_defaults(command=_export)


def _quantize(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.quantize import quantize

    return quantize(args)


def _layout(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.layout import layout

    return layout(args.policy, args.method)


def _export(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from bench.export import export

    return export(args)
