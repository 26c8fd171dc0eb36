"""A batch split among threads, each with a module of its own on the same weights.

Small matrix products leave a second core idle when they are split (137 % of two cores were in use, 35 to 42 samples a
second of `pocket-oft` against 30 on one core); a batch can be split all the way through (55).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import torch
from torch import nn

from policies.pocket.frames import Batch


class Team:
    """Threads that compute gradients of one batch together. The result depends on their number, not on their timing."""

    def __init__(self, modules: Sequence[nn.Module], count: int):
        """The gradients end in `modules`, whose weights the others use."""
        self.members = [tuple(modules), *(tuple(map(_twin, modules)) for _ in range(count - 1))]
        self.threads = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def gradients(self, part: Callable[..., np.ndarray], batch: Batch, context: torch.Tensor | None,
                  generator: torch.Generator) -> np.ndarray:
        """Sum of `part(modules, batch, context, generator, share)` over the pieces of a batch, and gradients."""
        size = len(batch.state)
        seeds = torch.randint(2**62, (len(self.members),), generator=generator).tolist()
        # A batch whose context is known comes without pictures.
        columns = {field.name: getattr(batch, field.name) for field in fields(Batch)}
        coming = []
        for modules, rows, seed in zip(self.members, torch.arange(size).tensor_split(len(seeds)), seeds, strict=True):
            if len(rows):
                piece = Batch(**{name: column[rows] if len(column) else column for name, column in columns.items()})
                known = None if context is None else context[rows]
                drawn = torch.Generator().manual_seed(seed)
                coming.append(self.threads.submit(part, modules, piece, known, drawn, len(rows) / size))
        found = sum(future.result() for future in coming)
        first, *others = [[p for module in member for p in module.parameters()] for member in self.members]
        for other in others:
            for own, twin in zip(first, other, strict=True):
                if twin.grad is not None:
                    own.grad.add_(twin.grad)
                    twin.grad = None
        return found


def _twin(module: nn.Module) -> nn.Module:
    """A module with the same weights in memory, and gradients of its own."""
    twin = copy.deepcopy(module)
    for own, other in zip((*module.parameters(), *module.buffers()), (*twin.parameters(), *twin.buffers()),
                          strict=True):
        other.data = own.data
    return twin
