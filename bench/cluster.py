"""A run on the machines of a Ray cluster: the runner deals keys, writes records and files, and survives its nodes.

Ray starts the players, finds room for them and notices when one is gone (https://docs.ray.io, "Fault tolerance"). An
episode that went down with its node is played once more elsewhere; lost twice, it is an error as any other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from bench.dealing import Deal
from bench.errors import StoreMismatch, UsageError, WorkerError
from bench.folder import write_bytes
from bench.player import failed
from bench.records import EpisodeRecord, RunStore
from bench.remote import SAME, Seat, kept, needed, write_kept
from bench.rollout import one_line
from bench.spec import EpisodeKey, PolicyVariant

ATTEMPTS = 2
"""Players that may be lost over one episode before it is an error."""


@dataclass(eq=False)
class _Player:
    """One actor."""

    actor: Any
    """Handle of it."""
    node: str | None = None
    """Name of the node, None until it has answered for the first time."""
    key: EpisodeKey | None = None
    """What it is playing."""
    has: set[str] = field(default_factory=set)
    """Variants that it has in memory or was sent."""
    answer: Any = None
    """The reference that it is going to fulfil: its circumstances at first, then what episodes gave."""


class RayCrew:
    """As many players as the cluster has room for, or `count`; see `bench.workers.Crew`. Use it as a context manager.

    It joins the cluster that the environment variable RAY_ADDRESS or a running `ray start` names, or starts one on
    this machine. Raises `UsageError` without Ray, and if no node has as many CPUs as the policy has threads.
    """

    def __init__(self, count: int | None, store: RunStore, timeout_s: float, isolate: bool,
                 say: Callable[[str], None]) -> None:
        self._ray = _ray()
        self._store, self._spec, self._say = store, store.header.spec, say
        self._settings = (self._spec, timeout_s, isolate)
        self._patience_s = timeout_s
        self._joined = not self._ray.is_initialized()
        if self._joined:
            # Ray's own report of who uses it; a benchmark tells nobody without being asked.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            self._ray.init(log_to_driver=False, logging_level="warning")
        self._players = [self._hired() for _ in range(count or self._room())]
        self._line = list(self._players)
        self._elsewhere = redirect_stdout(sys.stderr)
        self._processors: dict[str, str] = {}

    def play(self, variant: PolicyVariant, keys: Sequence[EpisodeKey],
             keep_audit: Callable[[dict[str, Any] | None], None]) -> Iterator[EpisodeRecord]:
        """Records in the order in which they come, their files already written.

        Raises what preparing the variant raises, `StoreMismatch` for a node with other code, packages, assets or
        renderer than the header's, and `WorkerError` if nobody plays for as long as an episode may hang.
        """
        deal, lost = Deal(keys, len(self._players)), dict.fromkeys(keys, 0)
        for player in self._players:
            self._give(player, variant, deal)
        while len(deal) or any(p.key for p in self._players):
            player = self._next()
            try:
                answer = self._ray.get(player.answer)
            except self._ray.exceptions.RayError as error:
                key = self._replace(player, error)
                if key is not None:
                    lost[key] += 1
                    if lost[key] < ATTEMPTS:
                        deal.again(key)
                    else:
                        yield failed(self._spec, key, f"{ATTEMPTS} players were lost over it, at last: "
                                                      f"{one_line(error)}")
                self._give_all(variant, deal)
                continue
            if "raised" in answer:
                raise answer["raised"]
            key, player.key, player.answer = player.key, None, None
            if key is None:
                self._welcome(player, answer)
                self._give(player, variant, deal)
                continue
            for audit in answer["audits"]:
                keep_audit(audit)
            write_kept(self._store.folder, variant, answer["kept"])
            for name, content in answer["files"].items():
                write_bytes(self._store.folder.root / name, content)
            self._give(player, variant, deal)
            yield answer["record"]

    def _next(self) -> _Player:
        """A player that has answered; raises `WorkerError` if there is none for too long while nobody plays."""
        # Ray looks at the first of the list first; whoever was heard last stands last.
        waiting = {p.answer: p for p in self._line if p.answer is not None}
        playing = any(p.key for p in self._players)
        done, _ = self._ray.wait(list(waiting), num_returns=1, timeout=None if playing else self._patience_s)
        if not done:
            raise WorkerError(f"no player has started within {self._patience_s:g} s (--timeout-s) on a cluster of "
                              f"{len(self._alive())} nodes with {self._spec.threads} CPUs for each player; look at "
                              "`ray status`, or give --threads")
        player = waiting[done[0]]
        self._line.remove(player)
        self._line.append(player)
        return player

    def _give_all(self, variant: PolicyVariant, deal: Deal) -> None:
        for player in self._players:
            if player.answer is None:
                self._give(player, variant, deal)

    def _give(self, player: _Player, variant: PolicyVariant, deal: Deal) -> None:
        """The next key for a player that is there and idle."""
        if player.node is None or player.answer is not None:
            return
        player.key = deal.next(self._players.index(player))
        if player.key is not None:
            files = needed(self._spec, self._store.folder, player.key)
            if variant.variant_id not in player.has:
                files |= kept(self._store.folder, variant)
                player.has.add(variant.variant_id)
            player.answer = player.actor.play.remote(variant, player.key, files)

    def _welcome(self, player: _Player, found: Mapping[str, Any]) -> None:
        """Let a player take part if it stands on what the header says."""
        header = self._store.header.to_json()
        player.node = found["node"]
        there, here = ({name: _without_folder(side[name]) for name in SAME} for side in (found, header))
        differing = [name for name in SAME if there[name] != here[name]]
        if differing:
            raise StoreMismatch(f"node {player.node} of the cluster would give other episodes: "
                                + "; ".join(f"{n} {there[n]!r} there, {here[n]!r} here" for n in differing))
        if player.node not in self._processors:
            self._processors[player.node] = found["cpu"]
            self._say(f"{player.node} plays ({found['cpu']})")
            self._store.note_nodes(self._processors)

    def _replace(self, player: _Player, error: Exception) -> EpisodeKey | None:
        """Put a new actor in the place of one that is gone; give back what it was playing."""
        self._say(f"a player on {player.node or 'a node that had not answered yet'} is lost ({type(error).__name__})")
        self._ray.kill(player.actor)  # it may live behind a cut connection, and must not go on
        key = player.key
        fresh = self._hired()
        player.actor, player.answer, player.has = fresh.actor, fresh.answer, fresh.has
        player.node = player.key = None
        return key

    def _hired(self) -> _Player:
        threads = self._spec.threads
        actor = self._ray.remote(Seat).options(
            num_cpus=threads, num_gpus=int(self._spec.device != "cpu"), scheduling_strategy="SPREAD",
        ).remote(*self._settings)
        return _Player(actor, answer=actor.circumstances.remote())

    def _alive(self) -> list[Mapping[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _room(self) -> int:
        threads = self._spec.threads
        cpus = [int(node["Resources"].get("CPU", 0)) for node in self._alive()]
        if max(cpus, default=0) < threads:
            raise UsageError(f"a player takes {threads} CPUs (--threads), and the nodes of the cluster have {cpus}; "
                             "give fewer threads, which makes it another run")
        return sum(n // threads for n in cpus)

    def __enter__(self) -> RayCrew:
        # Ray prints what it has to say of dead nodes, from a thread of its own; stdout is for results.
        self._elsewhere.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._elsewhere.__exit__(*exc)
        for player in self._players:
            self._ray.kill(player.actor)
        if self._joined:
            self._ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError("runner 'ray' needs Ray, which is not installed: pip install 'qvla-bench[ray]', or in a "
                         "checkout `make install RUNNER=ray`") from error
    return ray


def _without_folder(value: Any) -> Any:
    """Equal assets are equal wherever they lie."""
    return {k: v for k, v in value.items() if k != "folder"} if isinstance(value, Mapping) else value
