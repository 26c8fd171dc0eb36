"""Published checkpoint folders, read key by key into a network without running any code of theirs.

    config.json                                   sizes, and statistics of the older checkpoints
    model.safetensors.index.json, model-*.safetensors   the network, or one model.safetensors
    preprocessor_config.json, tokenizer.json      pictures and words
    dataset_statistics.json                       units of actions and proprioception
    action_head--*_checkpoint.pt, proprio_projector--*_checkpoint.pt    OpenVLA-OFT only
    action_decoder.pt                             UniVLA only

The parts that are published as `.pt` are opened by PyTorch's reader for tensors alone, which refuses every other
Python object; weights of the network in a pickle are refused as such.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from policies.errors import CheckpointError
from policies.openvla.llama import text_arguments
from policies.openvla.network import DTYPES, NetworkConfig
from policies.openvla.tower import TOWERS, TowerConfig, unread

CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"
ARCHITECTURE = "OpenVLAForActionPrediction"
EMBEDDING = "language_model.model.embed_tokens.weight"
"""The tensor whose type is that of the network."""
KINDS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""What the file format calls the types."""


def read_json(folder: Path, name: str) -> Any:
    """The content of a JSON file. Raises `CheckpointError` if it is missing or broken."""
    try:
        return json.loads((folder / name).read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} has no {name}; is it the folder of a whole checkpoint?") from error
    except ValueError as error:
        raise CheckpointError(f"{folder / name} is broken: {error}") from error


def read_config(folder: Path, images: int) -> NetworkConfig:
    """The sizes of the network. Raises `CheckpointError` for another architecture than OpenVLA's."""
    data = read_json(folder, CONFIG)
    if not isinstance(data, dict) or data.get("model_type") != "openvla":
        found = data.get("model_type") if isinstance(data, dict) else type(data).__name__
        raise CheckpointError(f"{folder / CONFIG} describes a model of type {found!r}, not 'openvla' "
                              f"({data.get('architectures') if isinstance(data, dict) else None})")
    if data.get("architectures") not in (None, [ARCHITECTURE]) or data.get("use_fused_vision_backbone") is False:
        raise CheckpointError(f"{folder / CONFIG} names the architecture {data.get('architectures')} with "
                              f"use_fused_vision_backbone {data.get('use_fused_vision_backbone')}; known is "
                              f"{ARCHITECTURE} with two towers")
    try:
        towers = tuple(_towers(data))
        with _opened(folder, _files(folder)[EMBEDDING]) as file:
            kind = file.get_slice(EMBEDDING).get_dtype()
        return NetworkConfig(towers, text_arguments(data["text_config"]), data["n_action_bins"],
                             data["pad_to_multiple_of"], images, KINDS.get(kind, kind))
    except KeyError as error:
        raise CheckpointError(f"{folder / CONFIG} or the list of tensors lacks {error}") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error


def _towers(data: Mapping[str, Any]) -> Iterable[TowerConfig]:
    """Both towers, by timm's names, or by the sizes that `tower_sizes` gives for towers that timm does not know."""
    if "tower_sizes" in data:
        return [TowerConfig(**sizes) for sizes in data["tower_sizes"]]
    names = data["timm_model_ids"]
    strange = [name for name in names if name not in TOWERS]
    if strange or len(names) != 2 or any(data.get("timm_override_act_layers") or ()):
        raise ValueError(f"vision towers {names} with activations {data.get('timm_override_act_layers')}; known are "
                         f"{', '.join(TOWERS)} with their own")
    return [TOWERS[name] for name in names]


def unread_names(config: NetworkConfig, words_unread: bool) -> dict[str, tuple[int, ...]]:
    """Name and shape of the tensors that every checkpoint has and this network does not compute with."""
    names = {f"vision_backbone.{name}.{key}": shape
             for name, tower in zip(("featurizer", "fused_featurizer"), config.towers, strict=True)
             for key, shape in unread(tower).items()}
    if words_unread:
        names["language_model.lm_head.weight"] = (config.text["vocab_size"], config.text["hidden_size"])
    return names


@torch.no_grad()
def load_network_(module: torch.nn.Module, folder: Path, unused: Mapping[str, tuple[int, ...]], beside: str) -> None:
    """Fill `module` from the shards, one tensor at a time; what is named `beside`.* comes from elsewhere.

    Raises `CheckpointError` for missing, unexpected or misshapen tensors, before the first is read.
    """
    own = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(tuple(beside.split()))}
    files = _files(folder)
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()} | dict(unused)
    _compare(folder, expected.keys(), files.keys())
    shards = {file: sorted(name for name in files if files[name] == file) for file in sorted(set(files.values()))}
    for file, names in shards.items():
        with _opened(folder, file) as content:
            _compare(folder / file, names, content.keys())
            for name in names:
                shape = tuple(content.get_slice(name).get_shape())
                if shape != expected[name]:
                    raise CheckpointError(f"{folder / file}: {name!r} has shape {shape}; {CONFIG} wants "
                                          f"{expected[name]}")
    for file, names in shards.items():
        with _opened(folder, file) as content:
            for name in (name for name in names if name in own):
                own[name].copy_(content.get_tensor(name))


def read_part(folder: Path, pattern: str) -> dict[str, torch.Tensor]:
    """The tensors of the one file of this pattern, without the prefix that training on many devices gives them.

    Raises `CheckpointError` if there is none or several, or if it holds anything else than tensors.
    """
    found = sorted(folder.glob(f"{pattern}.safetensors")) or sorted(folder.glob(f"{pattern}.pt"))
    if len(found) != 1:
        raise CheckpointError(f"{folder} must have one file {pattern}.pt, it has {[path.name for path in found]}")
    path = found[0]
    if path.suffix == ".safetensors":
        with _opened(folder, path.name) as content:
            return {name.removeprefix("module."): content.get_tensor(name) for name in content.keys()}
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and PyTorch errors alike mean the same to the user
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is refused: it is damaged, or holds other Python objects than tensors, which "
                              f"could run code when they are read ({reason})") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise CheckpointError(f"{path} holds something else than tensors by name")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


@torch.no_grad()
def fill_(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Copy a part into its module. Raises `CheckpointError` for missing, unexpected or misshapen tensors."""
    own = module.state_dict()
    _compare(where, own.keys(), tensors.keys())
    for name, tensor in own.items():
        if tensors[name].shape != tensor.shape:
            raise CheckpointError(f"{where}: {name!r} has shape {tuple(tensors[name].shape)}, the network wants "
                                  f"{tuple(tensor.shape)}")
        tensor.copy_(tensors[name])


def dtype_of(config: NetworkConfig) -> torch.dtype:
    """The type of the network's weights."""
    return DTYPES[config.dtype]


def _files(folder: Path) -> dict[str, str]:
    """Tensor -> name of the file that holds it."""
    if (folder / INDEX).is_file():
        files = read_json(folder, INDEX).get("weight_map")
        if not isinstance(files, dict) or not all(Path(file).name == file for file in files.values()):
            raise CheckpointError(f"{folder / INDEX} has no weight_map of files beside it")
        absent = sorted({file for file in files.values() if not (folder / file).is_file()})
        if absent:
            raise CheckpointError(f"{folder} lacks {len(absent)} of the files that {INDEX} names, first {absent[0]}; "
                                  "the download is not complete")
        return files
    if (folder / SINGLE).is_file():
        with _opened(folder, SINGLE) as content:
            return dict.fromkeys(content.keys(), SINGLE)
    pickles = sorted(path.name for suffix in ("bin", "pt", "pth", "ckpt") for path in folder.glob(f"*.{suffix}"))
    if pickles:
        raise CheckpointError(f"{folder} has its weights in {pickles[0]}, a pickle, which could run code when it is "
                              f"read, and is refused; expected are {INDEX} with its files, or {SINGLE}")
    raise CheckpointError(f"{folder} has neither {INDEX} nor {SINGLE}")


def _opened(folder: Path, name: str) -> Any:
    try:
        return safe_open(folder / name, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / name} is not a whole file of tensors: {error}") from error


def _compare(where: Any, wanted: Iterable[str], found: Iterable[str]) -> None:
    wanted, found = set(wanted), set(found)
    for problem, names in (("lacks", wanted - found), ("has the unexpected", found - wanted)):
        if names:
            raise CheckpointError(f"{where} {problem} tensor {min(names)!r} ({len(names)} such); it holds another "
                                  "network, or only a part of one")
