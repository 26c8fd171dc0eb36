"""Export to the `compressed-tensors` layout, which vLLM and transformers read, by that library itself.

The layout has one width for all rows of a layer, so what can leave is uniform: 8-bit weights with 8-bit activations
(`int-quantized`) and 4-bit weights with activations as they are (`pack-quantized`). Before anything is written the
library's own decompression must give back every weight bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from quantizers.linear import QuantLinear
from quantizers.saved import CONFIG, MODEL, Origin, StorageError, json_bytes, require_free, write_files
from quantizers.storage import compact, state_of

LIBRARY = "compressed_tensors"
LAYOUTS = {(8, 8): "int-quantized", (4, None): "pack-quantized"}
"""(weight bits, activation bits) -> the layout's name for it."""


def export_compressed(module: nn.Module, folder: Path, origin: Origin) -> None:
    """Write `module`, whose quantized layers are of one of `LAYOUTS`, to the new folder `folder`, whole or not at all.

    Raises StorageError if the library is missing, the folder is not free, or a layer has something that the layout
    cannot say.
    """
    require_free(folder)
    if find_spec(LIBRARY) is None:
        raise StorageError("the export needs the library compressed-tensors; install qvla-bench[export]")
    packed = {name: part for name, part in module.named_modules() if isinstance(part, QuantLinear)}
    if not packed:
        raise StorageError("nothing is quantized, so there is nothing to export but the checkpoint")
    kinds = {name: _kind(name, layer) for name, layer in packed.items()}
    if len(set(kinds.values())) > 1:
        raise StorageError(f"the export has one width for all layers, this network has {sorted(set(kinds.values()))}")
    schemes = {name: _scheme(name, layer) for name, layer in packed.items()}
    tensors = {name: compact(tensor) for name, tensor in state_of(module).items()
               if name.rpartition(".")[0] not in packed}
    for name, layer in packed.items():
        tensors |= {f"{name}.{part}": tensor for part, tensor in _compressed(name, layer, schemes[name]).items()}
    kept = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    config = {**dataclasses.asdict(origin), "quantization_config": _config(schemes, kept)}
    write_files(folder, {MODEL: lambda path: save_file(tensors, path, {"format": "pt"}),
                         CONFIG: lambda path: path.write_bytes(json_bytes(config))})


def _kind(name: str, layer: QuantLinear) -> str:
    """The layout of a layer; raises StorageError if it has none."""
    widths = sorted(set(layer.channel_bits().tolist()))
    found = (widths[0], layer.activation_bits)
    if len(widths) > 1 or found not in LAYOUTS:
        shown = "/".join(map(str, widths))
        raise StorageError(
            f"layer {name!r} has W{shown} A{layer.activation_bits or 16}; what compressed-tensors can say is uniform "
            "W8A8 and W4A16, such as --method rtn:w8a8 or --method gptq:w4a16")
    around = [part for part, tensor in layer.surroundings().items() if tensor is not None]
    if around:
        raise StorageError(f"layer {name!r} has {', '.join(around)}, which compressed-tensors cannot say")
    return LAYOUTS[found]


def _scheme(name: str, layer: QuantLinear) -> Any:
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    grouped = layer.group_size is not None
    weights = QuantizationArgs(
        num_bits=layer.channel_bits()[0].item(), type="int", symmetric=layer.zero is None,
        strategy="group" if grouped else "channel", group_size=layer.group_size, dynamic=False)
    inputs = None if layer.activation_bits is None else QuantizationArgs(
        num_bits=layer.activation_bits, type="int", symmetric=True, strategy="token", dynamic=True)
    return QuantizationScheme(targets=[name], weights=weights, input_activations=inputs, format=_kind(name, layer))


def _compressed(name: str, layer: QuantLinear, scheme: Any) -> dict[str, torch.Tensor]:
    """The layer's tensors by their names in the layout."""
    from compressed_tensors.compressors import BaseCompressor

    compressor = BaseCompressor.get_value_from_registry(str(scheme.format))
    weight = layer.dequantized_weight()
    state = {"weight": weight, "weight_scale": layer.scale.clone()}
    if layer.zero is not None:
        state["weight_zero_point"] = layer.zero.clone()
    compressed = compressor.compress(state, scheme)
    if not torch.equal(compressor.decompress(compressed, scheme)["weight"], weight):
        raise StorageError(f"layer {name!r} would come back from compressed-tensors with other weights")
    if layer.bias is not None:
        compressed["bias"] = compact(layer.bias)
    return {part: tensor.contiguous() for part, tensor in compressed.items()}


def _config(schemes: Mapping[str, Any], kept: list[str]) -> dict[str, Any]:
    """What the library writes into `config.json`; layers with equal settings make one group."""
    import compressed_tensors
    from compressed_tensors.quantization import QuantizationConfig

    groups: dict[str, Any] = {}
    for scheme in schemes.values():
        alike = next((g for g in groups.values() if g.model_copy(update={"targets": scheme.targets}) == scheme), None)
        if alike is None:
            groups[f"group_{len(groups)}"] = scheme.model_copy(update={"targets": list(scheme.targets)})
        else:
            alike.targets.extend(scheme.targets)
    first = next(iter(schemes.values()))
    config = QuantizationConfig(config_groups=groups, ignore=kept, format=str(first.format),
                                quantization_status="compressed")
    return {"quant_method": "compressed-tensors", "version": compressed_tensors.__version__,
            **config.model_dump(mode="json", exclude={"quant_method"})}
