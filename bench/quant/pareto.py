"""Drift against bytes over budgets: `make pareto POLICY=pocket-oft METHODS="qvla rtn"`.

Methods with a budget are asked for several, the others for every width they have, all with the activations that the
method is given (8 bits if it is given none). The folder gets `sweep.json`, `points.csv` and pictures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

import torch

from bench.quant.drift import Drifts
from bench.variants import package_root, split_methods
from policies.registry import POLICIES
from quantizers.registry import parse_method
from quantizers.scope import literals
from reports.pareto import SWEEP, write_pareto

TARGET_BITS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
"""Budgets, in the unit of the method's own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and draw."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    methods = split_methods(args.methods)
    texts = {method: budgets(method, args.target_bits) for method in methods}
    folder = Path(args.out or f"pareto/{args.policy}")
    folder.mkdir(parents=True, exist_ok=True)
    sweep = sweep_of(Drifts(args.policy), texts)
    (folder / SWEEP).write_text(json.dumps(sweep, indent=1) + "\n", encoding="utf-8")
    written = write_pareto(folder)
    print(json.dumps({"policy": args.policy, "points": len(sweep["points"]), "files": [str(path) for path in written]}))


def budgets(method: str, target_bits: Sequence[float] = TARGET_BITS) -> list[str]:
    """The texts of a method at every budget or width, or only itself if it says which. Raises ValueError as parsing."""
    config = parse_method(method)
    name, _, options = method.partition(":")
    fields = {field.name for field in dataclasses.fields(config)}
    given = [option for option in options.split(",") if option]
    short = next((option for option in given if re.fullmatch(r"(w\d+)?(a\d+)?", option)), "")
    named = {option.partition("=")[0] for option in given}
    if "target_bits" in fields:
        if "target_bits" in named:
            return [method]
        return [f"{name}:{','.join([*given, f'target_bits={bits:g}'])}" for bits in target_bits]
    if "weight_bits" not in fields or short.startswith("w") or "weight_bits" in named:
        return [method]
    rest = [option for option in given if option != short]
    activations = "" if "activation_bits" in named else short or "a8"
    widths = [bits for bits in literals(get_type_hints(type(config))["weight_bits"]) if bits < 16]
    return [f"{name}:{','.join([f'w{bits}{activations}', *rest])}" for bits in widths]


def sweep_of(drifts: Drifts, texts: dict[str, list[str]]) -> dict[str, Any]:
    """The content of `sweep.json`: points of every text, and of each series' middle one the layers."""
    points = [{"series": method, "method": text} | drifts.of(text) for method, budget in texts.items()
              for text in budget]
    layers, sensitivity = {}, {}
    for budget in texts.values():
        middle = budget[len(budget) // 2]
        audit = drifts.audits[middle].to_json()
        layers[middle] = audit["layers"]
        if audit["diagnostics"].get("sensitivity_quantiles"):
            sensitivity[middle] = audit["diagnostics"]["sensitivity_quantiles"]
    return {"policy": drifts.name, "points": points, "layers": layers, "sensitivity": sensitivity}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.quant.pareto", description=__doc__)
    networks = [name for name, entry in POLICIES.items() if entry.quantizable and entry.takes is None]
    trained = next(name for name in networks
                   if POLICIES[name].weights and (package_root() / POLICIES[name].weights).is_dir())
    parser.add_argument("--policy", choices=networks, default=trained, help="default: %(default)s")
    parser.add_argument("--methods", default="qvla:budget=bytes,rule=hull rtn",
                        help="as for bench (default: %(default)s)")
    parser.add_argument("--target-bits", type=float, nargs="+", default=TARGET_BITS,
                        help="budgets of a method that has one (default: %(default)s)")
    parser.add_argument("--out", help="folder to write (default: pareto/POLICY)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return parser


if __name__ == "__main__":
    main()
