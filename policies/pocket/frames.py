"""Training samples on disk: folders of arrays that are mapped or read whole, drawn in balance over tasks.

    images.npy         uint8[N, 2, S, S, 3], both cameras
    states.npy         float32[N, 8], proprioception
    chunks.npy         float32[N, 8, 7], what the expert does from there
    focus.npy          float32[N, 7], object and target relative to the hand (m), and whether the object is held
    text.npy           int32[N], row of instructions.json, a list of strings
    episode.npy        int32[N], number of the episode within the folder
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from policies.pocket.words import encode

TRUTH_SCALE = 0.1
"""Metres that count as one in `focus`."""
TEMPERATURE = 0.5
"""A task of n samples is drawn in proportion to n to this power: 1 is as they come, 0 every task alike."""
HELD_OUT = 0.03
"""Share of the episodes that is never trained on."""


@dataclass(frozen=True)
class Batch:
    """Samples as tensors. Axis letters: B batch, C cameras, S pixels, W words, H actions."""

    images: torch.Tensor
    """uint8[B, C, S, S, 3]."""
    state: torch.Tensor
    """float32[B, 8]."""
    words: torch.Tensor
    """int64[B, W]."""
    mask: torch.Tensor
    """int64[B, W]."""
    chunks: torch.Tensor
    """float32[B, H, 7]."""
    focus: torch.Tensor
    """float32[B, 7], lengths in units of `TRUTH_SCALE`."""

    def inputs(self) -> dict[str, torch.Tensor]:
        """The arguments of `Backbone.embed`, without the columns of padding that all rows share.

        Positions in the decoder are relative, so that these columns change nothing.
        """
        first = int((self.mask.sum(0) == 0).sum())
        return {"images": self.images, "state": self.state, "words": self.words[:, first:],
                "mask": self.mask[:, first:]}


class Frames:
    """All samples of some folders, numbered through."""

    def __init__(self, folders: Sequence[Path], ram_bytes: int):
        """Pictures are read into memory if all of them take at most `ram_bytes`, else row by row from the files.

        Raises `FileNotFoundError` if there are none, ValueError if the arrays of a folder disagree.
        """
        self.folders = _with_images(folders)
        mapped = [np.load(folder / "images.npy", mmap_mode="r") for folder in self.folders]
        self.in_memory = sum(images.nbytes for images in mapped) <= ram_bytes
        self._images = [np.load(folder / "images.npy") for folder in self.folders] if self.in_memory else mapped
        self._starts = np.cumsum([0] + [len(images) for images in mapped])
        self.states, self.chunks, self.focus = (self._joined(name) for name in ("states", "chunks", "focus"))
        self.focus[:, :6] /= TRUTH_SCALE
        texts = [self._texts(folder) for folder in self.folders]
        self.instructions = sorted({text for row in texts for text in row})
        number = {text: index for index, text in enumerate(self.instructions)}
        self.task = torch.tensor([number[text] for row in texts for text in row])
        self._words, self._mask = encode(self.instructions)
        held = torch.from_numpy(np.concatenate([_held_out(folder) for folder in self.folders]))
        self.training, self.validation = (~held).nonzero().flatten(), held.nonzero().flatten()
        self._rows = [self.training[self.task[self.training] == task] for task in range(len(self.instructions))]
        self._weights = torch.tensor([len(rows) for rows in self._rows]).double().pow(TEMPERATURE)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """int64[count]: rows to train on; first a task (`TEMPERATURE`), then one of its samples."""
        tasks = torch.multinomial(self._weights, count, replacement=True, generator=generator)
        places = torch.rand(count, generator=generator, dtype=torch.float64)
        return torch.stack([self._rows[task][int(place * len(self._rows[task]))]
                            for task, place in zip(tasks.tolist(), places.tolist(), strict=True)])

    def batch(self, rows: torch.Tensor, images: torch.Tensor | None = None) -> Batch:
        """The samples of int64[B]; `images` replaces their pictures."""
        task = self.task[rows]
        return Batch(self.images(rows) if images is None else images, self.states[rows], self._words[task],
                     self._mask[task], self.chunks[rows], self.focus[rows])

    def images(self, rows: torch.Tensor) -> torch.Tensor:
        """uint8[B, C, S, S, 3] of the rows int64[B]."""
        numbers = rows.numpy()
        folders = np.searchsorted(self._starts, numbers, side="right") - 1
        return torch.from_numpy(np.stack([self._images[folder][row - self._starts[folder]]
                                          for folder, row in zip(folders, numbers, strict=True)]))

    def _joined(self, name: str) -> torch.Tensor:
        arrays = [np.load(folder / f"{name}.npy") for folder in self.folders]
        for folder, array, images in zip(self.folders, arrays, self._images, strict=True):
            if len(array) != len(images):
                raise ValueError(f"{folder / name}.npy has {len(array)} rows, images.npy has {len(images)}")
        joined = torch.from_numpy(np.concatenate(arrays)).float()
        if not torch.isfinite(joined).all():
            raise ValueError(f"{name}.npy of {self.folders[0].parent} holds NaN or infinite values")
        return joined

    @staticmethod
    def _texts(folder: Path) -> list[str]:
        known = json.loads((folder / "instructions.json").read_text())
        return [known[index] for index in np.load(folder / "text.npy")]


def _with_images(folders: Sequence[Path]) -> list[Path]:
    # A folder that is still being written has a name that begins with a dot.
    found = [file.parent for folder in folders for file in sorted(folder.rglob("images.npy"))
             if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    if not found:
        raise FileNotFoundError(f"no images.npy in or below {', '.join(map(str, folders))}; collect samples first")
    return list(dict.fromkeys(found))


def _held_out(folder: Path) -> np.ndarray:
    """bool[N]: rows of episodes that are held out; by name, so that new episodes and folders change no old ones."""
    episodes = np.load(folder / "episode.npy")
    digests = {n: hashlib.sha256(f"{folder.name}/{n}".encode()).digest() for n in np.unique(episodes).tolist()}
    held = {episode: int.from_bytes(digest[:4], "big") / 2**32 < HELD_OUT for episode, digest in digests.items()}
    return np.array([held[episode] for episode in episodes.tolist()])


def augment(images: torch.Tensor, shift: int, generator: torch.Generator) -> torch.Tensor:
    """uint8[B, C, S, S, 3], per picture moved by up to `shift` pixels, and changed in brightness, contrast and tint."""
    batch, cameras, side = images.shape[:3]
    places = torch.randint(0, 2 * shift + 1, (batch, cameras, 2), generator=generator).tolist()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    moved = torch.from_numpy(np.stack([
        np.stack([padded[b, c, y:y + side, x:x + side] for c, (y, x) in enumerate(row)])
        for b, row in enumerate(places)
    ]))
    shape = (batch, cameras, 1, 1, 1)
    gain = 1.0 + 0.2 * (torch.rand(shape, generator=generator) - 0.5)
    lift = 24.0 * (torch.rand(shape, generator=generator) - 0.5)
    tint = 1.0 + 0.1 * (torch.rand((batch, cameras, 1, 1, 3), generator=generator) - 0.5)
    return (moved.float() * (gain * tint) + lift).clamp_(0, 255).to(torch.uint8)
