"""Bytes, counted on the tensors that are really there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from quantizers.linear import QuantLinear


def held_bytes(module: nn.Module) -> int:
    """Bytes of memory behind all parameters and buffers; a storage that several tensors share counts once, in full."""
    storages = {}
    for tensor in (*module.parameters(), *module.buffers()):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def storage_bytes(module: nn.Module) -> int:
    """Bytes of a file of the state: packed layers as they are, every other floating-point tensor as float16."""
    total, seen = 0, set()
    for part in module.modules():
        if isinstance(part, QuantLinear):
            total += part.stored_bytes()
            continue
        for tensor in _own_state(part):
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            if key not in seen:
                seen.add(key)
                total += 2 * tensor.numel() if tensor.is_floating_point() else tensor.nbytes
    return total


def left_to_reference(module: nn.Module) -> list[str]:
    """Names of the packed layers that do not multiply integers where they are now."""
    packed = ((name, part) for name, part in module.named_modules() if isinstance(part, QuantLinear))
    return [name for name, part in packed if part.backend == "reference"]


def weight_bits(layer: nn.Module) -> int:
    """Stored bits of a layer's weight with scales and widths, without the bias."""
    if isinstance(layer, QuantLinear):
        return 8 * (layer.stored_bytes() - (0 if layer.bias is None else 2 * layer.bias.numel()))
    return 16 * layer.weight.numel()


def _own_state(part: nn.Module) -> Iterator[torch.Tensor]:
    yield from part.parameters(recurse=False)
    # Buffers that are not persistent, such as cached positions, are rebuilt on loading and take no space in a file.
    for name, buffer in part.named_buffers(recurse=False):
        if name not in part._non_persistent_buffers_set:
            yield buffer
