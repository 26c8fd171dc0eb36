"""Tiny LeRobot checkpoints in the published layout, with arbitrary weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.types import Observation

WORDS = ["<pad>", "<unk>", "<bos>", "pick", "up", "the", "milk", "Task", "State", "Action", ":", ";", ",", "\n",
         *map(str, range(40)), "<eos>", "<fake>", "<image>", "<global>"]
SPECIAL = {"fake_image_token": "<fake>", "image_token": "<image>", "global_image_token": "<global>",
           "end_of_utterance_token": "<eos>"}
"""What SmolVLM's processor wants of its tokenizer."""
SIZES = {
    "paligemma": {
        "projection_dim": 32, "image_token_index": 63,
        "text_config": {"model_type": "gemma", "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4,
                        "num_key_value_heads": 1, "head_dim": 8, "num_hidden_layers": 2, "vocab_size": 64,
                        "hidden_activation": "gelu_pytorch_tanh"},
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48,
                          "num_attention_heads": 4, "num_hidden_layers": 2, "image_size": 28, "patch_size": 14,
                          "projection_dim": 32, "vision_use_head": False}},
    "expert": {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 1,
               "head_dim": 8, "num_hidden_layers": 2, "vocab_size": 64, "hidden_activation": "gelu_pytorch_tanh"},
}


def seen(seed: int) -> Observation:
    random = np.random.default_rng(seed)
    images = {camera: random.integers(0, 256, (256, 256, 3), dtype=np.uint8) for camera in ("agentview", "wrist")}
    return Observation(images, random.uniform(-0.5, 0.5, 8).astype(np.float32), "pick up the milk")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Callable[[str], Path]:
    """`checkpoint("pi0")`: a folder as LeRobot writes one."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = write(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return make


def write_smolvlm(folder: Path, tokenizer: Any) -> None:
    """The config and processor of a tiny SmolVLM, as its repository has them."""
    from transformers import SmolVLMConfig, SmolVLMProcessor
    from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    SmolVLMProcessor(image_processor=SmolVLMImageProcessor(), tokenizer=tokenizer, image_seq_len=4,
                     video_processor=SmolVLMVideoProcessor()).save_pretrained(folder)
    SmolVLMConfig(
        text_config={"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4,
                     "num_key_value_heads": 2, "head_dim": 8, "num_hidden_layers": 4, "vocab_size": 64,
                     "pad_token_id": 0},
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2,
                       "image_size": 32, "patch_size": 8},
        scale_factor=2, image_token_id=9, pad_token_id=0).save_pretrained(folder)


def write(kind: str, folder: Path) -> Path:
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import make_policy_config, make_pre_post_processors
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    from policies.lerobot import pi, smol

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"extra_special_tokens": SPECIAL} if kind == "smolvla" else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>",
                                        eos_token="<eos>", **special)
    tokenizer.save_pretrained(folder / "tokenizer")
    camera = PolicyFeature(FeatureType.VISUAL, (3, 256, 256))
    if kind == "smolvla":
        write_smolvlm(folder / "vlm", tokenizer)
        own = {"num_steps": 3, "resize_imgs_with_padding": (32, 32), "vlm_model_name": str(folder / "vlm"),
               "load_vlm_weights": False, "num_vlm_layers": 4}
    else:
        own = {"num_inference_steps": 3, "image_resolution": (28, 28)}
    config = make_policy_config(
        kind, device="cpu", chunk_size=6, n_action_steps=6, max_state_dim=10, max_action_dim=9, **own,
        tokenizer_max_length=48, push_to_hub=False,
        input_features={"observation.images.image": camera, "observation.images.image2": camera,
                        "observation.state": PolicyFeature(FeatureType.STATE, (8,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (7,))})
    config.save_pretrained(folder)
    spread = {name: {"mean": torch.full((n,), 0.1), "std": torch.full((n,), 0.5), "min": torch.full((n,), -1.0),
                     "max": torch.ones(n), "q01": torch.full((n,), -0.9), "q99": torch.full((n,), 0.8)}
              for name, n in (("observation.state", 8), ("action", 7))}
    plain = AutoTokenizer.from_pretrained
    AutoTokenizer.from_pretrained = lambda name, *args, **kwargs: plain(folder / "tokenizer")
    try:
        for pipeline in make_pre_post_processors(config, dataset_stats=spread):
            pipeline.save_pretrained(folder)
    finally:
        AutoTokenizer.from_pretrained = plain
    torch.manual_seed(0)
    if kind == "smolvla":
        _, network = smol.build(kind, config, None)
    else:
        (folder / "sizes.json").write_text(json.dumps(SIZES))
        _, network = pi.build(kind, config, SIZES)
    with torch.no_grad():
        for parameter in network.parameters():
            # LeRobot's modulations begin at zero, which would hide whether a fold moves through them.
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_file({name.removeprefix("model."): value.contiguous() for name, value in network.state_dict().items()},
              folder / "model.safetensors")
    np.savez(folder / "calibration.npz", cameras=["agentview", "wrist"],
             states=np.stack([seen(i).state for i in range(8)]),
             images=np.stack([[seen(i).images[c] for c in ("agentview", "wrist")] for i in range(8)]),
             instructions=["pick up the milk"] * 8, episodes=[f"drawn-{i}" for i in range(8)])
    return folder
