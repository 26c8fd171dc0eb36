"""Instructions as word ids: the closed vocabulary of LIBERO's instructions, one id a word."""

from __future__ import annotations

from collections.abc import Sequence

import torch

WORDS = (
    "a alphabet and back basket bbq black blue book bottle bottom bowl box butter cabinet caddy center cheese "
    "chocolate close compartment cookie coffee cream cup drawer dressing frying front from in it juice ketchup "
    "left lower middle microwave milk moka mug mugs next of off on open orange pan pick place plate porcelain pot "
    "pots pudding put rack ramekin red right salad sauce shelf side soup stack stove table the to tomato top tray "
    "turn two under up white wine with wooden yellow between both close desk drawer's her his second stacked "
    "kitchen living room study push at inside them "
)
VOCABULARY = {word: index + 2 for index, word in enumerate(dict.fromkeys(WORDS.split()))}
"""Word -> id; 0 is padding, 1 stands for a word that is not listed."""

MAX_WORDS = 20
"""Instructions are padded or cut to this many words, so that a result never depends on its batch."""


def encode(instructions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """`(ids int64[B, MAX_WORDS], mask int64[B, MAX_WORDS])`, padded on the left."""
    ids = torch.zeros(len(instructions), MAX_WORDS, dtype=torch.long)
    for row, text in enumerate(instructions):
        words = [VOCABULARY.get(word, 1) for word in text.lower().split()][:MAX_WORDS]
        if words:
            ids[row, -len(words):] = torch.tensor(words)
    return ids, (ids > 0).long()
