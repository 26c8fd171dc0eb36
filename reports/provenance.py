"""Where the figures come from: what a stranger needs in order to repeat or to distrust them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reports.load import PAUSED, RunData, latency_name
from reports.noise import noise_notice
from reports.table import is_complete
from reports.timings import timing_facts
from reports.verdict import saved_episodes

UNKNOWN = "not recorded"
"""What stands for a fact that the header holds as null."""


def provenance(run: RunData) -> list[tuple[str, str]]:
    """(name, text) rows: assets with digest, protocol, machine, packages, commit and the rest of the header."""
    header = run.header
    assets = header["assets"]
    starts = "; ".join(f"{s['created']} from {_commit(s)}" for s in header.get("starts", []))
    return [
        ("Assets", f"{assets.get('kind')}, digest {assets.get('digest') or UNKNOWN}"),
        ("Protocol", _flat({k: v for k, v in header["protocol"].items() if k != "deviations"})),
        ("Stepping", header["spec"].get("stepping") or UNKNOWN),
        ("Latency", latency_name(header)),
        ("Machine", _flat(header["machine"])),
        *([("Nodes", _flat(nodes))] if (nodes := _nodes(header)) else []),
        ("Renderer", header.get("renderer") or UNKNOWN),
        ("Commit", _commit(header)),
        ("Command", " ".join(header.get("args", [])) or UNKNOWN),
        ("Packages", _flat(header["packages"])),
        ("Variants", "; ".join(f"{v.variant_id}: {v.policy}, {v.method}" for v in run.variants)),
        ("Calibration", "; ".join(f"{vid}: {audit.get('calibration_digest') or 'none'}"
                                  for vid, audit in run.audits.items()) or UNKNOWN),
        *timing_facts(run),
        *([("Merged from", ", ".join(header["merged_from"]))] if "merged_from" in header else []),
        ("Created", header["created"]),
        ("Starts", starts or UNKNOWN),
    ]


def notices(run: RunData) -> list[str]:
    """What a reader must know before the first figure: whose assets, whether anything is left to run."""
    kind = run.header["assets"].get("kind")
    lines = []
    if run.header.get("merged_by_force"):
        lines.append("These runs are not of one kind and were merged by force; their figures are not comparable: "
                     + "; ".join(run.header["merged_by_force"]) + ".")
    if sources := run.header.get("merged_sources"):
        lines.append("These runs were made with different sources of this project: "
                     + ", ".join(f"{name} with {commit}" for name, commit in sources.items()) + ".")
    if kind == "builtin":
        lines.append("The scenes use the built-in assets. These figures are not comparable with figures on the "
                     "official assets, published ones included.")
    deviations = run.header["protocol"].get("deviations", [])
    if deviations:
        lines.append(f"These are not figures of protocol {run.header['protocol'].get('name')!r} as published. "
                     + "; ".join(deviations) + ".")
    if latency_name(run.header) != PAUSED:
        lines.append(f"The world went on while the policy decided (latency {latency_name(run.header)}). These figures "
                     "are not comparable with those of a world that waits.")
    if run.header["spec"].get("batch", 1) > 1:
        lines.append(f"Up to {run.header['spec']['batch']} decisions were made at once on "
                     f"{run.header['spec'].get('device')}, which may round them otherwise than one alone: repeat what "
                     "matters with a batch of 1, which is exact.")
    processors = sorted({*_nodes(run.header).values(), run.header["machine"].get("cpu")} - {None})
    if _nodes(run.header) and len(processors) > 1:
        lines.append(f"Episodes were played by different processors ({', '.join(processors)}), which may round sums "
                     "otherwise; a pair across two of them is not exact.")
    lines += [line for line in (noise_notice(run), _saved_notice(run)) if line is not None]
    if not is_complete(run):
        lines.append(f"The run is not complete: {len(run.episodes)} episodes have finished and {len(run.errors)} "
                     "ended in an error. Run the same command again to go on.")
    for variant_id, audit in run.audits.items():
        names = [row["name"] for row in audit.get("layers", []) if row["status"] == "unsupported"]
        if names:
            more = ", ..." if len(names) > 5 else ""
            lines.append(f"Variant {variant_id} keeps {len(names)} layers in full precision that its method does not "
                         f"support: {', '.join(names[:5])}{more}.")
    return lines


def _saved_notice(run: RunData) -> str | None:
    saved = saved_episodes(run)
    if saved is None:
        return None
    return (f"Comparisons ended as soon as their verdict was certain: {saved['needed']} of {saved['planned']} episodes "
            f"were needed, {saved['saved']} were saved. p-values and intervals hold whenever one stops.")


def error_lines(run: RunData) -> list[str]:
    """One line per outstanding error: the episode and the reason."""
    return [f"{e.variant_id} {e.suite} task {e.task} init state {e.init_state} seed {e.seed}: {e.reason}"
            for e in run.errors.itertuples()]


def _nodes(header: Mapping[str, Any]) -> dict[str, str]:
    """Node of a cluster -> its processor, over all starts of the run."""
    return {name: cpu for start in header.get("starts", ()) for name, cpu in start.get("nodes", {}).items()}


def _commit(source: Mapping[str, Any]) -> str:
    state = {None: "", True: " with uncommitted changes", False: " without uncommitted changes"}[source["dirty"]]
    return (source["commit"] or UNKNOWN) + state


def _flat(content: Any) -> str:
    """A JSON object on one line, `name = value` with commas between."""
    if not isinstance(content, dict):
        return str(content)
    return ", ".join(f"{k} = {v if isinstance(v, str) else json.dumps(v)}" for k, v in content.items()) or UNKNOWN
