"""Save a quantized module and load it again, bit for bit, without the full-precision checkpoint.

Packed parts are written as they are. What was kept is written as float16 wherever that loses nothing, which is
everywhere for a checkpoint that was float16 to begin with, and as it is otherwise. Loading checks everything before it
touches the module.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from quantizers.audit import QuantAudit
from quantizers.flow_time import follow_, followed
from quantizers.linear import QuantLinear
from quantizers.saved import (
    AUDIT,
    CONFIG,
    MODEL,
    Origin,
    SavedConfig,
    StorageError,
    check_files,
    json_bytes,
    read_config,
    write_folder,
)
from quantizers.scope import BackendChoice, resolve_backend
from quantizers.stored import restored, stored


@dataclass(frozen=True)
class StoredLayer:
    """How one layer is stored."""

    in_features: int
    """Inputs."""
    out_features: int
    """Outputs."""
    bits: Mapping[str, int]
    """Width in bits -> number of output channels."""
    group_size: int | None
    """Inputs that share a scale, None for whole rows."""
    activation_bits: int | None
    """Width of the activations, None if they are not quantized."""
    backend: BackendChoice
    """What the method asked for; `auto` is decided by the machine that loads."""


def save_quantized(module: nn.Module, folder: Path, audit: QuantAudit, origin: Origin) -> int:
    """Write `module`, which `quantize_` rewrote and described by `audit`, to the new folder `folder`.

    Returns how many kept tensors take float32 because float16 would change them; the audit counts them as float16.
    Equal modules give equal bytes. Raises StorageError if the folder is not free or nothing is quantized; nothing is
    left behind then.
    """
    packed = {name: part for name, part in module.named_modules() if isinstance(part, QuantLinear)}
    if not packed:
        raise StorageError(f"method {audit.method!r} quantized nothing, so there is nothing to save but the checkpoint")
    state = state_of(module)
    tensors = {name: compact(tensor) for name, tensor in _outside(state, packed).items()}
    for name, layer in packed.items():
        for attribute, tensor in stored(layer._buffers, layer.channel_bits()).items():
            tensors[f"{name}.{attribute}"] = compact(tensor) if attribute == "bias" else _alone(tensor)
    layers = {name: dataclasses.asdict(_described(layer, audit)) for name, layer in packed.items()}
    kept = {name: str(tensor.dtype) for name, tensor in _outside(state, packed).items()}
    config = {"config": dict(audit.config), "layers": layers, "kept": kept}
    if (denoiser := followed(module)) is not None:
        config["denoiser"] = denoiser
    described = json_bytes(audit.to_json())
    write_folder(folder, origin, config, {MODEL: lambda path: save_file(tensors, path),
                                          AUDIT: lambda path: path.write_bytes(described)})
    return sum(tensor.dtype == torch.float32 for name, tensor in tensors.items() if not _is_packed(name, packed))


def load_quantized_(module: nn.Module, folder: Path) -> QuantAudit:
    """Turn `module`, a network of the same sizes with any weights, into the one that was saved in `folder`.

    Returns the audit with the backend that this machine uses. Raises StorageError, with the module untouched, if a file
    is missing or damaged, or if the folder holds another network.
    """
    config = read_config(folder)
    check_files(folder, config)
    layers, kept, denoiser = _tables(folder, config)
    try:
        # Copies: a mapped file aligns tensors otherwise than memory does, and could change under a running network.
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / MODEL).items()}
    except SafetensorError as error:
        raise StorageError(f"{folder / MODEL} is not a file of tensors: {error}") from error
    parts = {name: _layer(folder, name, entry, module, tensors) for name, entry in layers.items()}
    own = _outside(state_of(module), parts)
    _check_kept(folder, own, kept, _outside(tensors, parts))
    if denoiser is not None and denoiser not in dict(module.named_modules()):
        raise _other_network(folder, f"the denoiser {denoiser!r} is absent")
    audit = _audit(folder, config, layers, parts)

    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
    for name, part in parts.items():
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, part)
    if denoiser is not None:
        follow_(module, denoiser)
    return audit


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a state dict by name; one that several modules share goes by its first name."""
    state: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor
    return state


def _outside(tensors: Mapping[str, torch.Tensor], layers: Mapping[str, nn.Module]) -> dict[str, torch.Tensor]:
    """The tensors that do not belong to one of `layers`."""
    return {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] not in layers}


def _is_packed(name: str, layers: Mapping[str, nn.Module]) -> bool:
    """Whether this is a buffer of a quantized layer whose type says how it is read; a bias is just a number."""
    owner, _, attribute = name.rpartition(".")
    return owner in layers and attribute != "bias"


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU as the whole of its own memory, copied only if it is not."""
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor.detach().cpu() if whole else tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def compact(tensor: torch.Tensor) -> torch.Tensor:
    """A copy, as float16 if every bit of the float32 values comes back from it."""
    tensor = tensor.detach().clone(memory_format=torch.contiguous_format)
    if tensor.dtype == torch.float32:
        half = tensor.half()
        if torch.equal(half.float().view(torch.int32), tensor.view(torch.int32)):
            return half
    return tensor


def _described(layer: QuantLinear, audit: QuantAudit) -> StoredLayer:
    sizes = (layer.in_features, layer.out_features)
    return StoredLayer(*sizes, _histogram(layer), layer.group_size, layer.activation_bits, audit.config["backend"])


def _histogram(layer: QuantLinear) -> dict[str, int]:
    return {str(width): count for width, count in sorted(Counter(layer.channel_bits().tolist()).items())}


def _tables(folder: Path, config: SavedConfig) -> tuple[dict[str, StoredLayer], dict[str, str], str | None]:
    """The layers as they are stored, the types of the kept tensors, and the denoiser whose steps some layers follow."""
    tables = dict(config.quantization_config)
    denoiser = tables.pop("denoiser", None)
    if set(tables) != {"config", "layers", "kept"} or not all(isinstance(table, dict) for table in tables.values()):
        raise StorageError(f"{folder / CONFIG}: quantization_config must have the tables config, layers and kept")
    layers = {}
    for name, entry in tables["layers"].items():
        try:
            layers[name] = StoredLayer(**entry)
        except TypeError as error:
            raise StorageError(f"{folder / CONFIG}: the entry of layer {name!r} is broken: {error}") from error
    return layers, tables["kept"], denoiser


def _layer(
    folder: Path, name: str, entry: StoredLayer, module: nn.Module, tensors: Mapping[str, torch.Tensor]
) -> QuantLinear:
    """The layer of this name as it was stored, for its place in `module`."""
    linear = dict(module.named_modules()).get(name)
    if type(linear) is not nn.Linear:
        raise _other_network(folder, f"layer {name!r} is {'absent' if linear is None else type(linear).__name__}")
    sizes = (linear.in_features, linear.out_features)
    if sizes != (entry.in_features, entry.out_features):
        raise _other_network(
            folder, f"layer {name!r} has {sizes[0]} -> {sizes[1]}, not {entry.in_features} -> {entry.out_features}"
        )
    buffers = {key.rpartition(".")[2]: tensor for key, tensor in tensors.items() if key.rpartition(".")[0] == name}
    if ("bias" in buffers) != (linear.bias is not None):
        raise _other_network(folder, f"layer {name!r} has {'no' if linear.bias is None else 'a'} bias")
    try:
        backend, _ = resolve_backend(entry.backend, entry.activation_bits)
        options = {"group_size": entry.group_size, "activation_bits": entry.activation_bits, "backend": backend}
        layer = QuantLinear.from_buffers(restored(buffers), *sizes, **options)
    except ValueError as error:
        raise StorageError(f"layer {name!r} of {folder} cannot be loaded: {error}") from error
    if _histogram(layer) != entry.bits:
        raise StorageError(f"layer {name!r} of {folder} has widths {_histogram(layer)}, {CONFIG} says {entry.bits}")
    return layer


def _check_kept(
    folder: Path, own: Mapping[str, torch.Tensor], kept: Mapping[str, str], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Raise StorageError unless `tensors` are exactly what `own` wants, by name, shape and type."""
    for problem, names in (("lacks", own.keys() - tensors.keys()), ("has the unexpected", tensors.keys() - own.keys())):
        if names:
            raise StorageError(
                f"{folder} {problem} tensor {min(names)!r} ({len(names)} such); it holds another network"
            )
    for name, tensor in own.items():
        found = tensors[name]
        if found.shape != tensor.shape:
            raise _other_network(folder, f"{name!r} has shape {tuple(tensor.shape)}, not {tuple(found.shape)}")
        narrowed = (found.dtype, tensor.dtype) == (torch.float16, torch.float32)
        if kept.get(name) != str(tensor.dtype) or not (found.dtype == tensor.dtype or narrowed):
            raise _other_network(folder, f"{name!r} is {tensor.dtype}, not {kept.get(name)} stored as {found.dtype}")


def _other_network(folder: Path, difference: str) -> StorageError:
    return StorageError(f"{folder} holds another network: here {difference}")


def _audit(
    folder: Path, config: SavedConfig, layers: Mapping[str, StoredLayer], parts: Mapping[str, QuantLinear]
) -> QuantAudit:
    """The audit of the folder, with the backend of this machine."""
    path = folder / AUDIT
    try:
        audit = QuantAudit.from_json(json.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(f"{path} is not an audit that this version reads: {error}") from error
    quantized = {layer.name for layer in audit.layers if layer.status == "quantized"}
    choices = {(entry.backend, entry.activation_bits) for entry in layers.values()}
    if dict(audit.config) != config.quantization_config["config"] or quantized != parts.keys() or len(choices) != 1:
        raise StorageError(f"{path} and {folder / CONFIG} describe different networks")
    backend, reason = resolve_backend(*choices.pop())
    diagnostics = {name: value for name, value in audit.diagnostics.items() if name != "backend_reason"}
    return dataclasses.replace(
        audit,
        backend=backend,
        integer_arithmetic=backend != "reference",
        diagnostics=diagnostics if reason is None else diagnostics | {"backend_reason": reason},
    )
