"""Where a denoiser is in its integration, told to the layers inside of it while it runs.

Hooks on the denoiser note the flow time of each call in a context variable, so nested calls, threads and coroutines
each see their own, and nothing is left behind by a call that ends in an exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class _Call:
    time: torch.Tensor
    outer: _Call | None


_CALL: ContextVar[_Call | None] = ContextVar("denoiser call", default=None)


def current() -> torch.Tensor | None:
    """The flow times float[B] of the denoiser call that is running, None outside of one."""
    call = _CALL.get()
    return None if call is None else call.time


def follow_(module: nn.Module, denoiser: str) -> None:
    """From now on let calls of the submodule `denoiser` tell the layers in it their flow time."""
    part = module.get_submodule(denoiser)
    if _enter not in part._forward_pre_hooks.values():
        part.register_forward_pre_hook(_enter)
        part.register_forward_hook(_leave, always_call=True)


def followed(module: nn.Module) -> str | None:
    """The denoiser that `follow_` was told of, None if there is none."""
    return next((name for name, part in module.named_modules() if _enter in part._forward_pre_hooks.values()), None)


@contextmanager
def following(module: nn.Module, denoiser: str | None) -> Iterator[None]:
    """`follow_` while the context lasts; nothing for a network without a denoiser or one that is followed already."""
    if denoiser is None or followed(module) == denoiser:
        yield
        return
    part = module.get_submodule(denoiser)
    handles = [part.register_forward_pre_hook(_enter), part.register_forward_hook(_leave, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _enter(_denoiser: nn.Module, args: tuple[Any, ...]) -> None:
    if len(args) < 2 or not isinstance(args[1], torch.Tensor) or args[1].ndim != 1:
        raise TypeError("a denoiser must get the flow time float[B] as its second positional argument")
    _CALL.set(_Call(args[1].detach().float(), _CALL.get()))


def _leave(*_: Any) -> None:
    call = _CALL.get()
    # None if `_enter` itself raised: this hook is called after every exception.
    _CALL.set(None if call is None else call.outer)
