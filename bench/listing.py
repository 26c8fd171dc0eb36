"""What there is to choose from, and what each choice needs."""

from __future__ import annotations

from bench.protocol import PROTOCOLS
from bench.saved import VARIANTS, saved_listing
from bench.timing.probe import absent, devices
from envs.registry import ALIASES, SUITES
from policies.registry import POLICIES, PolicyEntry
from quantizers.registry import METHODS, config_class


def listing() -> str:
    """Suites, policies, methods, saved variants, protocols and devices as text."""
    also = {meant: alias for alias, meant in ALIASES.items()}
    suites = {name: (f"also called {also[name]}; " if name in also else "") + f"assets {' or '.join(entry.assets)}; "
                    f"stepping {' or '.join(entry.stepping)}; needs {entry.needs}" for name, entry in SUITES.items()}
    policies = {name if e.takes is None else f"{name}:...": _policy(e) for name, e in POLICIES.items()}
    methods = {name: _first_sentence(config_class(name)) + "; needs "
               + ("calibration observations of the policy" if entry.needs_calibration else "nothing")
               for name, entry in METHODS.items()}
    saved = saved_listing(VARIANTS) or {"none": f"nothing is saved in {VARIANTS}; `qvla-bench quantize` makes one"}
    protocols = {name: f"{p.settle_steps} settle steps, looks again every {p.replan_every} actions; "
                       f"`protocol show {name}` has the rest"
                 for name, p in PROTOCOLS.items()}
    clocks = {name: "available" if (reason := absent(name)) is None else f"not available: {reason}"
              for name in devices()}
    return "\n\n".join(_section(title, table) for title, table in (
        ("SUITE", suites), ("POLICY", policies), ("METHOD", methods),
        (f"SAVED in {VARIANTS}, for --policy {VARIANTS}/NAME", saved), ("PROTOCOL", protocols), ("DEVICE", clocks)))


def _policy(entry: PolicyEntry) -> str:
    kind = "can be quantized" if entry.quantizable else "full precision only"
    behind = f"; behind the colon: {entry.takes}" if entry.takes else ""
    return f"for {', '.join(entry.suites)}; {kind}; needs {entry.needs}{behind}"


def _section(title: str, table: dict[str, str]) -> str:
    width = max(map(len, table))
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in table.items())])


def _first_sentence(kind: type) -> str:
    return " ".join((kind.__doc__ or kind.__name__).split("\n\n")[0].split()).rstrip(".")
