"""LeRobot checkpoints with random weights in the published layout, small ones for tests and such of true size.

They go through the same reading code as published ones. Their answers mean nothing. Words are a handful.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.factory import make_policy_config, make_pre_post_processors
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerFast, SmolVLMConfig, SmolVLMProcessor
from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

from policies.lerobot import groot, pi, smol
from policies.lerobot.recipe import SIZES, TOKENIZER

WORDS = ["<pad>", "<unk>", "<bos>", "pick", "up", "the", "milk", "Task", "State", "Action", ":", ";", ",", "\n",
         *map(str, range(40)), "<eos>", "<fake>", "<image>", "<global>"]
SPECIAL = {"fake_image_token": "<fake>", "image_token": "<image>", "global_image_token": "<global>",
           "end_of_utterance_token": "<eos>"}
"""What SmolVLM's processor wants of its tokenizer."""
EAGLE_WORDS = ("<|endoftext|>", "<img>", "</img>", "<IMG_CONTEXT>")
"""Behind the 256 bytes, what the Eagle's tokenizer has of whole words."""
PICTURE = 256 + EAGLE_WORDS.index("<IMG_CONTEXT>")
"""The number of the word that stands where a picture's tokens go."""
TEMPLATE = ("{% for message in messages %}{% set seen = namespace(count=0) %}{% for part in message['content'] %}"
            "{% if part['type'] == 'image' %}{% set seen.count = seen.count + 1 %}<image-{{ seen.count }}>"
            "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}")
"""A chat that marks the place of each picture as the Eagle's does."""
SPREAD = 0.05
"""Standard deviation of weights that are no matrices."""


@dataclass(frozen=True)
class Sizes:
    """What a checkpoint is written with."""

    kind: str
    """LeRobot's name of the policy."""
    config: Mapping[str, Any]
    """What differs from LeRobot's defaults in the policy's config."""
    network: Mapping[str, Any] | None = None
    """What `build` takes for sizes; None for LeRobot's own."""
    vlm: Mapping[str, Any] | None = None
    """The config of SmolVLA's SmolVLM, with the tokens of a picture as `tokens`."""


def write(folder: Path, sizes: Sizes, seed: int = 0) -> None:
    """A checkpoint as LeRobot writes one, with two cameras, 8 numbers of state and 7 of actions."""
    folder.mkdir(parents=True, exist_ok=True)
    own = dict(sizes.config)
    if sizes.kind == "groot":
        own |= {"tokenizer_assets_repo": str(folder / TOKENIZER)}
        _write_eagle(folder / TOKENIZER, sizes.network["eagle"])
    else:
        tokenizer = _write_tokenizer(folder, SPECIAL if sizes.kind == "smolvla" else {})
    if sizes.vlm is not None:
        _write_smolvlm(folder / "vlm", tokenizer, dict(sizes.vlm))
        own |= {"vlm_model_name": str(folder / "vlm"), "load_vlm_weights": False}
    config = made_config(replace(sizes, config=own))
    config.save_pretrained(folder)
    _write_pipelines(folder, config)
    if sizes.network is not None:
        _json(folder / SIZES, sizes.network)
    torch.manual_seed(seed)
    kinds = {"smolvla": smol.build, "groot": groot.build}
    _, network = kinds.get(sizes.kind, pi.build)(sizes.kind, config, sizes.network)
    draw_(network)
    before = "_groot_model." if sizes.kind == "groot" else ""
    save_file({before + name.removeprefix("model."): value.contiguous()
               for name, value in network.state_dict().items()}, folder / "model.safetensors")


def made_config(sizes: Sizes) -> Any:
    """LeRobot's config of a policy with these sizes."""
    camera = PolicyFeature(FeatureType.VISUAL, (3, 256, 256))
    return make_policy_config(
        sizes.kind, device="cpu", push_to_hub=False, **sizes.config,
        input_features={"observation.images.image": camera, "observation.images.image2": camera,
                        "observation.state": PolicyFeature(FeatureType.STATE, (8,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (7,))})


@torch.no_grad()
def draw_(network: nn.Module) -> None:
    """Draw all weights: matrices that keep the size of what they are given, norms about one, the rest small."""
    for part in network.modules():
        kind = type(part).__name__
        for name, parameter in part.named_parameters(recurse=False):
            # Gemma's norms multiply by 1 + weight. What begins at zero elsewhere, such as the modulations of a
            # diffusion transformer, would hide here whether a fold moves through it.
            first = 1.0 if "Norm" in kind and "Gemma" not in kind and name == "weight" else 0.0
            # A convolution has four axes; of three the first is the robot, the second the input.
            inputs = parameter[0].numel() if parameter.ndim == 4 else parameter.shape[1] if parameter.ndim > 1 else None
            parameter.normal_(first, SPREAD if inputs is None else inputs ** -0.5)


def _write_tokenizer(folder: Path, special: Mapping[str, str]) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>",
        extra_special_tokens=dict(special))
    tokenizer.save_pretrained(folder / TOKENIZER)
    return tokenizer


def _write_pipelines(folder: Path, config: Any) -> None:
    spread = {name: {"mean": torch.full((n,), 0.1), "std": torch.full((n,), 0.5), "min": torch.full((n,), -1.0),
                     "max": torch.ones(n), "q01": torch.full((n,), -0.9), "q99": torch.full((n,), 0.8)}
              for name, n in (("observation.state", 8), ("action", 7))}
    plain = AutoTokenizer.from_pretrained
    AutoTokenizer.from_pretrained = lambda *args, **kwargs: plain(folder / TOKENIZER)  # LeRobot's are on the hub
    try:
        for pipeline in make_pre_post_processors(config, dataset_stats=spread):
            pipeline.save_pretrained(folder)
    finally:
        AutoTokenizer.from_pretrained = plain


def _write_smolvlm(folder: Path, tokenizer: Any, vlm: dict[str, Any]) -> None:
    """The config and processor of a SmolVLM, as its repository has them."""
    SmolVLMProcessor(image_processor=SmolVLMImageProcessor(), tokenizer=tokenizer, image_seq_len=vlm.pop("tokens"),
                     video_processor=SmolVLMVideoProcessor()).save_pretrained(folder)
    SmolVLMConfig(**vlm).save_pretrained(folder)


def _write_eagle(folder: Path, eagle: Mapping[str, Any]) -> None:
    """The files of an Eagle, as LeRobot's repository of them has them; its tokenizer spells everything in bytes."""
    folder.mkdir()
    side, added = eagle["force_image_size"], dict(zip(EAGLE_WORDS, range(256, 300), strict=False))
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    _json(folder / "vocab.json", {sign: number for number, sign in enumerate(signs)})
    (folder / "merges.txt").write_text("#version: 0.2\n")
    _json(folder / "added_tokens.json", added)
    _json(folder / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "pad_token": EAGLE_WORDS[0], "eos_token": EAGLE_WORDS[0],
        "unk_token": None, "bos_token": None, "padding_side": "left", "added_tokens_decoder": {
            str(number): {"content": word, "special": True, "normalized": False, "lstrip": False, "rstrip": False,
                          "single_word": False} for word, number in added.items()}})
    _json(folder / "config.json", eagle | {"auto_map": {"AutoConfig": "configuration_eagle2_5_vl.Eagle25VLConfig"}})
    _json(folder / "preprocessor_config.json", {
        "auto_map": {"AutoImageProcessor": "image_processing_eagle2_5_vl_fast.Eagle25VLImageProcessorFast"},
        "do_resize": False, "do_pad": False, "size": {"height": side, "width": side}, "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3, "min_dynamic_tiles": 1, "max_dynamic_tiles": 12, "use_thumbnail": True, "resample": 3})
    _json(folder / "processor_config.json", {
        "auto_map": {"AutoProcessor": "processing_eagle2_5_vl.Eagle25VLProcessor"},
        "image_token": "<IMG_CONTEXT>", "video_token": "<IMG_CONTEXT>", "image_start_token": "<img>",
        "image_end_token": "</img>", "tokens_per_tile": (side // eagle["vision_config"]["patch_size"]) ** 2})
    _json(folder / "chat_template.json", {"chat_template": TEMPLATE})


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
