"""Running a network block by block: what goes into a block on the calibration set, and what its layers see.

A block is recorded by running the whole network and stopping behind the block's last call, so nothing needs to be known
of what lies between blocks (embeddings, projectors, masks). Calls of a denoiser or a decoder that runs many times per
decision are all recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from quantizers.calibration import CalibrationSet
from quantizers.layout import ModelLayout

Visit = Callable[[str, torch.Tensor], None]
"""`(layer name, float32[T, I])`: called with the input of a layer, each time that it is called."""


@dataclass(frozen=True)
class Call:
    """One call of a block."""

    args: tuple[Any, ...]
    """Positional arguments; tensors are copies."""
    kwargs: Mapping[str, Any]
    """Keyword arguments, likewise."""

    def on(self, block: nn.Module) -> torch.Tensor:
        """What `block` answers to this call: its output, or the first one if there are several."""
        return first_output(block(*self.args, **self.kwargs))


class _Enough(Exception):
    """The block has been called as often as it will be."""


def stages(layout: ModelLayout, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Block -> its layers among `names`, in forward order; a layer outside of the blocks is its own block."""
    found: dict[str, list[str]] = {}
    for site in layout.linears:
        if site.name in names:
            block = next((block for block in layout.blocks if within(site.name, block)), site.name)
            found.setdefault(block, []).append(site.name)
    return {block: tuple(layers) for block, layers in found.items()}


def within(name: str, block: str) -> bool:
    """Whether a module is the block or lies in it."""
    return block in ("", name) or name.startswith(block + ".")


def common_part(names: Sequence[str], block: str) -> str:
    """The smallest submodule of `block` that holds all the named layers."""
    shared = []
    for steps in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    part = ".".join(shared)
    return part if within(part, block) else block


def record_calls(
    module: nn.Module, layout: ModelLayout, block: str, calibration: CalibrationSet, batch_size: int | None = None
) -> list[Call]:
    """Every call of `block` on the calibration set, in batches of `batch_size` samples (None: as they come).

    The network must call a block equally often in each forward pass.
    """
    calls: list[Call] = []
    limit = None

    def hook(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(Call(_copied(args), _copied(kwargs)))
        if limit is not None and len(calls) - before == limit:
            raise _Enough

    handle = module.get_submodule(block).register_forward_pre_hook(hook, with_kwargs=True)
    try:
        for batch in calibration.in_batches(batch_size):
            before = len(calls)
            try:
                with torch.no_grad():
                    layout.forward(module, batch)
            except _Enough:
                pass
            limit = len(calls) - before
    finally:
        handle.remove()
    return calls


@contextmanager
def watched(module: nn.Module, names: Sequence[str], visit: Visit) -> Iterator[None]:
    """Show `visit` the inputs of the named layers while the context lasts. Raises ValueError for NaN or infinity."""

    def watch(name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            x = inputs[0].detach().float().reshape(-1, inputs[0].shape[-1])
            if not torch.isfinite(x).all():
                raise ValueError(
                    f"the input of layer {name!r} holds NaN or infinite values on the calibration set; the checkpoint "
                    "or an observation is broken"
                )
            visit(name, x)

        return hook

    handles = [module.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def observe(
    module: nn.Module, layout: ModelLayout, names: Sequence[str], calibration: CalibrationSet, visit: Visit
) -> int:
    """Show `visit` every input of the named layers on the whole calibration set; return the number of samples."""
    samples = 0
    with watched(module, names, visit), torch.no_grad():
        for batch in calibration.batches:
            samples += len(layout.forward(module, batch))
    return samples


def check_inputs(
    module: nn.Module, layout: ModelLayout, names: Iterable[str], calibration: CalibrationSet
) -> None:
    """Raise ValueError if one of the named layers sees NaN or infinity on the calibration set."""
    observe(module, layout, list(names), calibration, lambda _name, _x: None)


def in_turn(
    module: nn.Module, layout: ModelLayout, blocks: Sequence[str], calibration: CalibrationSet
) -> list[tuple[str, ...]]:
    """The blocks in groups: whoever rewrites a group changes the inputs of later groups only.

    Blocks whose calls lie between each other's, as those of a network that runs once for each denoising step, or that
    are named in another order than they are called, share a group. One sample of the calibration set shows it.
    """
    calls: list[str] = []
    handles = [module.get_submodule(block).register_forward_pre_hook(lambda *_, block=block: calls.append(block))
               for block in blocks]
    try:
        with torch.no_grad():
            layout.forward(module, next(calibration.in_batches(1)))
    finally:
        for handle in handles:
            handle.remove()
    groups: list[tuple[str, ...]] = []
    ends: list[int] = []
    for block in blocks:
        at = [index for index, called in enumerate(calls) if called == block]
        first, last = (at[0], at[-1]) if at else (len(calls), -1)
        group: tuple[str, ...] = (block,)
        while ends and first < ends[-1]:
            group, last = groups.pop() + group, max(last, ends.pop())
        groups.append(group)
        ends.append(max(last, ends[-1] if ends else -1))
    return groups


def chain(
    module: nn.Module,
    layout: ModelLayout,
    blocks: Sequence[str],
    calibration: CalibrationSet,
    batch_size: int | None = None,
) -> set[str]:
    """The blocks that are called once in a forward pass, with the answer of the one before them in `blocks` as their
    first argument and else with the same arguments as that one, on the whole calibration set."""
    before = dict(zip(blocks[1:], blocks, strict=False))
    found = set(before)
    last: dict[str, Call] = {}
    answers: dict[str, torch.Tensor] = {}
    handles = []

    def watch(block: str) -> Callable[..., None]:
        def enter(_part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            known, answer = last.pop(before.get(block, ""), None), answers.pop(before.get(block, ""), None)
            if known is None or not _equal(((answer, *known.args[1:]), known.kwargs), (args, kwargs)) or block in last:
                found.discard(block)
            # Copies, for what lies between two blocks may change what the one gave out in place.
            last[block] = Call(_copied(args), _copied(kwargs))

        return enter

    def leave(block: str) -> Callable[..., None]:
        def hook(_part: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            answers[block] = first_output(output).clone()

        return hook

    try:
        for block in blocks:
            part = module.get_submodule(block)
            handles.append(part.register_forward_pre_hook(watch(block), with_kwargs=True))
            handles.append(part.register_forward_hook(leave(block)))
        for batch in calibration.in_batches(batch_size):
            last.clear()
            with torch.no_grad():
                layout.forward(module, batch)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, tuple | list) and type(first) is type(second):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    return type(first) is type(second) and bool(first == second)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let no parameter of `module` ask for a gradient while the context lasts."""
    asking = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


@contextmanager
def swapped_weights(layers: Mapping[str, nn.Linear], weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Let the layers have these weights while the context lasts."""
    own = {name: layer.weight.data for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.weight.data = weights[name].to(own[name].dtype)
        yield
    finally:
        for name, layer in layers.items():
            layer.weight.data = own[name]


def first_output(output: Any) -> torch.Tensor:
    """The hidden states that a block gives out."""
    return output[0] if isinstance(output, tuple | list) else output


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, tuple):
        return tuple(map(_copied, value))
    if isinstance(value, list):
        return list(map(_copied, value))
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value
