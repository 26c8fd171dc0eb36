"""Checkpoints with random weights in the published layout: what speed and memory need where no weights can be fetched.

They go through the same reading code as published ones. Their answers mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from policies.openvla.checkpoint import ARCHITECTURE, CONFIG, INDEX, unread_names
from policies.openvla.latent import CODES, FIRST_CODE, LatentConfig, LatentNet
from policies.openvla.llama import text_arguments
from policies.openvla.network import DTYPES, Backbone, NetworkConfig
from policies.openvla.oft import OftNet
from policies.openvla.recipe import STATISTICS
from policies.openvla.token import TokenNet
from policies.openvla.tower import TOWERS, TowerConfig

SPREAD = 0.02
"""Standard deviation of the weights; norms are 1 and biases too are drawn."""
SHARD_BYTES = 2**30
"""Largest file, and so about what writing holds in memory."""
SUITE = "random"
"""The only data set of the statistics."""


@dataclass(frozen=True)
class Sizes:
    """Of a network; the defaults are the published ones."""

    towers: tuple[TowerConfig, ...] = tuple(TOWERS.values())
    """Vision towers."""
    text: Mapping[str, Any] = field(default_factory=dict)
    """What differs from Llama-2's sizes, by the names of `transformers.LlamaConfig`."""
    decoder_width: int = 512
    """Of UniVLA's action decoder."""
    dtype: str = "bfloat16"
    """Type of the weights."""


TINY = Sizes((TowerConfig(32, 2, 2, 64, 14, 28, 4, True, False), TowerConfig(32, 2, 2, 64, 14, 28, 0, False, True)),
             {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}, 64)
"""A network that a CPU answers with at once."""


def write_openvla(folder: Path, sizes: Sizes, seed: int = 0) -> None:
    """A checkpoint of OpenVLA."""
    _write(folder, TokenNet, sizes, seed)


def write_oft(folder: Path, sizes: Sizes, seed: int = 0) -> None:
    """A checkpoint of OpenVLA-OFT, with its head and its projector of proprioception."""
    parts = _write(folder, OftNet, sizes, seed)
    for name in ("action_head", "proprio_projector"):
        torch.save({key: tensor for key, tensor in parts(name)}, folder / f"{name}--0_checkpoint.pt")


def write_univla(folder: Path, sizes: Sizes, seed: int = 0) -> None:
    """A checkpoint of UniVLA, with its action decoder."""
    parts = _write(folder, LatentNet, sizes, seed)
    torch.save(dict(parts("action_decoder")), folder / "action_decoder.pt")


def _write(folder: Path, kind: type[Backbone], sizes: Sizes, seed: int) -> Any:
    folder.mkdir(parents=True)
    text = {"model_type": "llama", "vocab_size": 32064, "pad_token_id": 32000, **sizes.text}
    known = {"towers": sizes.towers, "text": text_arguments(text), "bins": 256, "padding": 64, "dtype": sizes.dtype}
    config = LatentConfig(**known, decoder_width=sizes.decoder_width) if kind is LatentNet else NetworkConfig(**known)
    with torch.device("meta"):
        module = kind(config)
    generator = torch.Generator().manual_seed(seed)
    own = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in module.state_dict().items()}
    beside = ("action_head.", "proprio_projector.", "action_decoder.")
    shapes = {name: what for name, what in own.items() if not name.startswith(beside)}
    unused = unread_names(config, words_unread=kind is OftNet)
    shapes |= {name: (shape, DTYPES[sizes.dtype]) for name, shape in unused.items()}
    _write_shards(folder, shapes, generator)
    side = sizes.towers[0].image_size
    _json(folder / CONFIG, {
        "architectures": [ARCHITECTURE], "model_type": "openvla", "text_config": text, "n_action_bins": 256,
        "pad_to_multiple_of": 64, "timm_model_ids": list(TOWERS), "use_fused_vision_backbone": True,
        **({} if sizes.towers == tuple(TOWERS.values()) else {"tower_sizes": [asdict(t) for t in sizes.towers]})})
    _json(folder / "preprocessor_config.json", {
        "image_resize_strategy": "resize-naive", "input_sizes": [[3, side, side]] * 2,
        "means": [[0.484375, 0.455078125, 0.40625], [0.5] * 3], "stds": [[0.228515625, 0.2236328125, 0.224609375],
                                                                         [0.5] * 3]})
    _json(folder / STATISTICS, {SUITE: {"action": {"q01": [-1.0] * 7, "q99": [1.0] * 7, "mask": [True] * 6 + [False]},
                                        "proprio": {"q01": [-1.0] * 8, "q99": [1.0] * 8}}})
    _write_tokenizer(folder / "tokenizer.json")

    def parts(prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        for name, (shape, dtype) in own.items():
            if name.startswith(f"{prefix}."):
                yield name.removeprefix(f"{prefix}."), _drawn(name, shape, dtype, generator)

    return parts


def _write_shards(
    folder: Path, shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]], generator: torch.Generator
) -> None:
    shards: list[list[str]] = [[]]
    held = 0
    for name, (shape, dtype) in shapes.items():
        size = torch.Size(shape).numel() * dtype.itemsize
        if shards[-1] and held + size > SHARD_BYTES:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += size
    files = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({name: _drawn(name, *shapes[name], generator) for name in names}, folder / file)
        files |= dict.fromkeys(names, file)
    _json(folder / INDEX, {"metadata": {}, "weight_map": files})


def _drawn(name: str, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    if len(shape) == 1 and "norm" in name and not name.endswith("bias"):
        return torch.ones(shape, dtype=dtype)
    return torch.empty(shape, dtype=dtype).normal_(0.0, SPREAD, generator=generator)


def _write_tokenizer(path: Path) -> None:
    """One token a word or sign, with Llama-2's begin of sequence and UniVLA's latent actions."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<ACT_{i}>": FIRST_CODE + i for i in range(CODES)}
    vocabulary |= {f"word{i}": i for i in sorted(set(range(FIRST_CODE + CODES)) - set(vocabulary.values()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(f"<ACT_{i}>", special=True) for i in range(CODES)])
    tokenizer.save(str(path))


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
