"""Instructions to tokens, by the tokenizer that lies in the checkpoint's folder."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer

from policies.conventions import OPENVLA_PROMPT
from policies.openvla.network import EMPTY_TOKEN, STOP_TOKEN

BEGIN_TOKEN = 1
"""Llama-2's begin of sequence."""


class Words:
    """The tokenizer as its file has it; nothing about it is guessed."""

    def __init__(self, content: bytes):
        """`content` of `tokenizer.json`. Raises ValueError if it is none, or not one of Llama-2's kind."""
        self._content = content
        try:
            self._tokenizer = Tokenizer.from_str(content.decode())
        except Exception as error:  # the library raises plain Exceptions
            raise ValueError(f"tokenizer.json cannot be read: {error}") from error
        if self._tokenizer.encode("In").ids[:1] != [BEGIN_TOKEN]:
            raise ValueError(f"tokenizer.json does not begin a sequence with token {BEGIN_TOKEN}, as the tokenizer of "
                             "Llama-2 does")

    def encode(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens int64[B, L] and their mask int64[B, L]; padding stands behind the begin of sequence."""
        rows = [self._tokenizer.encode(prompt).ids for prompt in prompts]
        rows = [ids if ids[-1] == EMPTY_TOKEN else [*ids, EMPTY_TOKEN] for ids in rows]
        length = max(map(len, rows))
        pads = [length - len(ids) for ids in rows]
        tokens = [[ids[0], *[STOP_TOKEN] * pad, *ids[1:]] for ids, pad in zip(rows, pads, strict=True)]
        mask = [[1, *[0] * pad, *[1] * (len(ids) - 1)] for ids, pad in zip(rows, pads, strict=True)]
        return torch.tensor(tokens), torch.tensor(mask)

    def words(self, ids: Sequence[int]) -> str:
        """The words of these ids without anything between them."""
        return "".join(self._tokenizer.id_to_token(int(i)) for i in ids)

    def to_json(self) -> str:
        """The file as text that is equal for equal files."""
        return base64.b64encode(zlib.compress(self._content, 9)).decode()

    @classmethod
    def from_json(cls, text: str) -> Words:
        """The tokenizer that `to_json` wrote. Raises ValueError for another text."""
        try:
            return cls(zlib.decompress(base64.b64decode(text, validate=True)))
        except zlib.error as error:
            raise ValueError(f"the tokenizer is damaged: {error}") from error


def prompt(instruction: str, history: str = "") -> str:
    """What the network is told; `history` are the latent actions that UniVLA spoke last."""
    text = OPENVLA_PROMPT.format(instruction=instruction.lower())
    return text.replace("?\n", f"? History action {history}\n") if history else text
