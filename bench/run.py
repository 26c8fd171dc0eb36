"""Walk a spec: every episode that the store does not have yet, in one process or in several."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from bench.errors import StoreMismatch
from bench.folder import write_json
from bench.player import TIMEOUT_S, Player
from bench.progress import Progress
from bench.records import EpisodeRecord, RunStore
from bench.schedule import batches, partner, wanted
from bench.sources.source import refuse_overlap
from bench.spec import BenchSpec, EpisodeKey, PolicyVariant
from bench.workers import Crew

Play = Callable[[PolicyVariant, Sequence[EpisodeKey]], Iterator[EpisodeRecord]]
"""Plays episodes of a variant; records come in any order."""


def run(spec: BenchSpec, store: RunStore, shown: bool = True, timeout_s: float = TIMEOUT_S, isolate: bool = False,
        workers: int | None = None, runner: str = "local") -> set[EpisodeKey]:
    """Play what is missing; return the keys that still have no outcome, empty if the run is complete.

    An episode that ends in an error is recorded and left for the next run. A variant's episode waits until its
    full-precision partner has an outcome, because its drift is measured against it. `isolate` keeps environments in a
    process of their own, whose death is an error of one episode; `workers` play at the same time, with equal results:
    processes of this machine, or with the runner "ray" of a cluster, as many as it has room for if None.
    """
    total = sum(1 for _ in spec.episodes())
    with Progress(total, len(store.keys()), shown) as progress, ExitStack() as open_things:
        play = _player(spec, store, progress, timeout_s, isolate, workers, runner, open_things)
        for variant, keys in batches(spec, store):
            done = store.keys()
            ready = [k for k in keys if variant.baseline or partner(spec, k) in done]
            for record in play(variant, ready) if ready else ():
                store.append(record)
                progress.add(record)
                if record.outcome == "error":
                    progress.say(f"error in {record.key.variant_id} {record.key.pair}: {record.reason}")
    return wanted(spec, store) - store.keys()


def _player(spec: BenchSpec, store: RunStore, progress: Progress, timeout_s: float, isolate: bool,
            workers: int | None, runner: str, open_things: ExitStack) -> Play:
    """Who plays: this process, or a crew."""
    announced: set[str] = set()

    def announce(variant: PolicyVariant) -> None:
        if variant.variant_id not in announced:
            progress.say(f"{variant.variant_id}: preparing {variant.policy} {variant.method}")
            announced.add(variant.variant_id)

    if runner == "ray" or (workers or 1) > 1:
        crew = open_things.enter_context(_crew(store, progress, timeout_s, isolate, workers, runner))

        def play(variant: PolicyVariant, keys: Sequence[EpisodeKey]) -> Iterator[EpisodeRecord]:
            announce(variant)
            yield from crew.play(variant, keys, lambda audit: _keep_audit(store, variant, audit))
    else:
        player = open_things.enter_context(Player(spec, store.folder, timeout_s, isolate))

        def play(variant: PolicyVariant, keys: Sequence[EpisodeKey]) -> Iterator[EpisodeRecord]:
            announce(variant)
            new, audit = player.prepare(variant)
            if new:
                _keep_audit(store, variant, audit)
            yield from map(player.play, keys)
    return play


def _crew(store: RunStore, progress: Progress, timeout_s: float, isolate: bool, workers: int | None,
          runner: str) -> Any:
    if runner == "local":
        return Crew(workers, store.header.spec, store.folder, timeout_s, isolate)
    from bench.cluster import RayCrew

    return RayCrew(workers, store, timeout_s, isolate, progress.say)


def _keep_audit(store: RunStore, variant: PolicyVariant, audit: dict[str, Any] | None) -> None:
    """Write the audit; raise `StoreMismatch` if earlier episodes of the variant ran on another quantization."""
    if audit is None:
        return
    refuse_overlap(f"{variant.method!r}", audit.get("calibration_episodes", ()), store.header.spec.episodes())
    path = store.folder.audit(variant.variant_id)
    if path.exists():
        old, new = (_without_diagnostics(a) for a in (json.loads(path.read_text()), json.loads(json.dumps(audit))))
        differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if differing:
            raise StoreMismatch(f"{variant.variant_id} was quantized differently before: {', '.join(differing)} of "
                                f"{path} changed; name a new run (RUN=...)")
    write_json(path, audit)


def _without_diagnostics(audit: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in audit.items() if name != "diagnostics"}


def outstanding_errors(store: RunStore) -> Sequence[EpisodeRecord]:
    """Records of the episodes whose last word is an error."""
    return [record for record in store.records() if record.outcome == "error"]
