"""What a method looks ahead with before it touches a network, without the memory of a second one.

A sharing copy has its own modules and the same tensors; whoever changes a parameter of it puts a new one in its place.
A made layer does not hold its parameters, but makes them for each call and lets go of them again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.func import functional_call


def sharing_copy(module: nn.Module) -> nn.Module:
    """A copy of `module` whose parameters and buffers are those of `module`."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())})


class Made(nn.Module):
    """In the place of a module: the module that `make` returns, made anew for each call."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self._make = make

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the made module answers."""
        return self._make()(*args, **kwargs)


class Changed(nn.Module):
    """In the place of a module: the module with the parameters that `tensors` returns, by its own names."""

    def __init__(self, part: nn.Module, tensors: Callable[[], Mapping[str, torch.Tensor]]) -> None:
        super().__init__()
        # In a tuple, so that its parameters are not taken for those of the copy.
        self._part, self._tensors = (part,), tensors

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module answers with the changed parameters."""
        return functional_call(self._part[0], dict(self._tensors()), args, kwargs)
