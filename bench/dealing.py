"""Who plays which episode next, when several play: a task stays with the player that has its scene open."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bench.spec import EpisodeKey


class Deal:
    """Keys of one variant, dealt to `count` players; whoever has none left takes from whoever has most."""

    def __init__(self, keys: Sequence[EpisodeKey], count: int) -> None:
        self._hands = [deque(k for k in keys if k.task % count == player) for player in range(count)]

    def __len__(self) -> int:
        return sum(map(len, self._hands))

    def next(self, player: int) -> EpisodeKey | None:
        """The next key of player number `player`, None if all are dealt."""
        hand = self._hands[player] or max(self._hands, key=len)
        return hand.popleft() if hand else None

    def again(self, key: EpisodeKey) -> None:
        """Put back what was dealt and not played; it is dealt next."""
        min(self._hands, key=len).appendleft(key)
