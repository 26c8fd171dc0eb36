"""Which episodes are still to be played, and in what order.

Usually variant by variant, so that one policy is in memory at a time. Where comparisons may end early, round by round,
one episode of every task, full precision first: after each round the verdicts are looked at, and a variant whose
verdict is certain leaves. What is to be done follows from the records alone, so an interrupted run goes on as if
nothing had happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from bench.records import EpisodeRecord, RunStore
from bench.spec import REPEAT, BenchSpec, EpisodeKey, PolicyVariant
from reports.sequential import Round, needed_rounds


def batches(spec: BenchSpec, store: RunStore) -> Iterator[tuple[PolicyVariant, list[EpisodeKey]]]:
    """A variant and its unfinished episodes, again and again; records must be in the store when the next is asked for.

    An episode whose last attempt was an error is given out once more, and not again in this walk.
    """
    if spec.stop == "never":
        for variant in spec.variants:
            done = store.keys()
            yield variant, [k for k in _keys(spec, variant, range(spec.trials)) if k not in done]
        return
    for number in range(spec.trials):
        rounds = _needed(spec, store)
        for variant in spec.variants:
            done = store.keys()
            if number < rounds[variant.variant_id]:
                yield variant, [k for k in _keys(spec, variant, [number]) if k not in done]


def wanted(spec: BenchSpec, store: RunStore) -> set[EpisodeKey]:
    """Every episode that the verdicts need: all of the spec, but for those that an early end has saved."""
    rounds = _needed(spec, store)
    return {k for v in spec.variants for k in _keys(spec, v, range(rounds[v.variant_id]))}


def partner(spec: BenchSpec, key: EpisodeKey) -> EpisodeKey:
    """The full-precision episode that `key` is compared with."""
    return replace(key, variant_id=spec.variants[0].variant_id)


def _needed(spec: BenchSpec, store: RunStore) -> dict[str, int]:
    """variant_id -> rounds that it needs; full precision and its repetition accompany whoever goes on longest."""
    if spec.stop == "never":
        return {v.variant_id: spec.trials for v in spec.variants}
    records = {r.key: r for r in store.records() if r.outcome != "error"}
    played = {v.variant_id: _rounds(spec, v, records) for v in spec.variants if not v.baseline and v.method != REPEAT}
    needed = needed_rounds(played, spec.trials, spec.margin_points / 100)
    longest = max(needed.values(), default=spec.trials)
    return {v.variant_id: needed.get(v.variant_id, longest) for v in spec.variants}


def _rounds(spec: BenchSpec, variant: PolicyVariant, records: dict[EpisodeKey, EpisodeRecord]) -> list[Round]:
    """Complete rounds from the first on; one that misses an episode ends the list, for a hole is not chance."""
    rounds: list[Round] = []
    for number in range(spec.trials):
        keys = _keys(spec, variant, [number])
        if any(k not in records or partner(spec, k) not in records for k in keys):
            break
        changes = [(records[k].outcome == "success") - (records[partner(spec, k)].outcome == "success") for k in keys]
        rounds.append((len(keys), changes.count(1), changes.count(-1)))
    return rounds


def _keys(spec: BenchSpec, variant: PolicyVariant, numbers: Collection[int]) -> Sequence[EpisodeKey]:
    return [EpisodeKey(variant.variant_id, spec.suite, task, number, spec.seed)
            for task in spec.tasks for number in numbers]
