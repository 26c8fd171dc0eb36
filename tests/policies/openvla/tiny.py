"""Tiny checkpoints in the published layout: true file and key names, a sharded index, seeded weights.

Only numpy, torch, safetensors and tokenizers are imported, so that the published code's own environment can read the
same folder (see recorded.json). Weights come from numpy's legacy generator, whose streams never change, one per name.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

WIDTH, MLP, LAYERS, HEADS, VOCABULARY = 64, 128, 2, 4, 32064
"""Of the decoder; the vocabulary is the true one."""
TOWERS = (
    {"width": 32, "depth": 3, "heads": 2, "mlp": 64, "patch": 14, "image_size": 224, "registers": 4,
     "layer_scale": True, "pooled": False},
    {"width": 48, "depth": 3, "heads": 2, "mlp": 96, "patch": 14, "image_size": 224, "registers": 0,
     "layer_scale": False, "pooled": True},
)
"""Stand in for DINOv2 and SigLIP; as many patches as the true ones."""
SUITE = "libero_10"
DECODER_WIDTH, WINDOW = 64, 12
WORDS = ("In", ":", "What", "action", "should", "the", "robot", "take", "to", "?", "Out", "History", "lift", "red",
         "blue", "cube", "put", "both", "in", "basket", "and", "on", "plate", "moka", "pots", "stove", "<", ">")
STATISTICS = {
    f"{SUITE}_no_noops": {
        "action": {"q01": [-0.7, -0.6, -0.9, -0.1, -0.2, -0.15, 0.0], "q99": [0.9, 0.8, 0.9, 0.12, 0.25, 0.2, 1.0],
                   "mask": [True] * 6 + [False]},
        "proprio": {"q01": [-0.4, -0.3, 0.0, 2.5, -1.0, -0.8, 0.0, -0.04],
                    "q99": [0.2, 0.4, 1.2, 3.6, 1.0, 0.9, 0.04, 0.0], "mask": [True] * 8},
    }
}


def language_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "lm_head.weight": (VOCABULARY, WIDTH),
              "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        shapes |= {f"{name}.self_attn.{part}_proj.weight": (WIDTH, WIDTH) for part in "qkvo"}
        shapes |= {f"{name}.mlp.{part}_proj.weight": (MLP, WIDTH) for part in ("gate", "up")}
        shapes |= {f"{name}.mlp.down_proj.weight": (WIDTH, MLP), f"{name}.input_layernorm.weight": (WIDTH,),
                   f"{name}.post_attention_layernorm.weight": (WIDTH,)}
    return shapes


def tower_shapes(width, depth, heads, mlp, patch, image_size, registers, layer_scale, pooled):
    shapes = {"pos_embed": (1, (image_size // patch) ** 2, width), "patch_embed.proj.weight": (width, 3, patch, patch),
              "patch_embed.proj.bias": (width,), "norm.weight": (width,), "norm.bias": (width,)}
    if registers:
        shapes |= {"cls_token": (1, 1, width), "reg_token": (1, registers, width)}
    linears = {"attn.qkv": (3 * width, width), "attn.proj": (width, width), "mlp.fc1": (mlp, width),
               "mlp.fc2": (width, mlp)}
    for block in range(depth):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{norm}.{part}": (width,) for part in ("weight", "bias")}
        shapes |= with_biases(f"blocks.{block}", linears)
        if layer_scale:
            shapes |= {f"blocks.{block}.{scale}.scale_factor": (width,) for scale in ("ls1", "ls2")}
    if pooled:
        shapes |= {"attn_pool.latent": (1, 1, width), "attn_pool.norm.weight": (width,),
                   "attn_pool.norm.bias": (width,)}
        shapes |= with_biases("attn_pool", {"q": (width, width), "kv": (2 * width, width), "proj": (width, width),
                                            "mlp.fc1": (mlp, width), "mlp.fc2": (width, mlp)})
    return shapes


def with_biases(prefix: str, linears: dict[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{name}.weight": shape for name, shape in linears.items()} | {
        f"{prefix}.{name}.bias": shape[:1] for name, shape in linears.items()}


def towers(side: int) -> list[dict]:
    return [{**sizes, "image_size": side} for sizes in TOWERS]


def model_shapes(side: int = 224) -> dict[str, tuple[int, ...]]:
    inputs = sum(tower["width"] for tower in TOWERS)
    shapes = {f"language_model.{name}": shape for name, shape in language_shapes().items()}
    for tower, sizes in zip(("featurizer", "fused_featurizer"), towers(side), strict=True):
        shapes |= {f"vision_backbone.{tower}.{name}": shape for name, shape in tower_shapes(**sizes).items()}
    return shapes | with_biases("projector", {"fc1": (4 * inputs, inputs), "fc2": (WIDTH, 4 * inputs),
                                              "fc3": (WIDTH, WIDTH)})


def head_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Files of OpenVLA-OFT beside the network."""
    norms = {"model.layer_norm1": 7 * WIDTH, "model.layer_norm2": WIDTH} | {
        f"model.mlp_resnet_blocks.{block}.ffn.0": WIDTH for block in range(2)}
    head = {f"{name}.{part}": (width,) for name, width in norms.items() for part in ("weight", "bias")}
    head |= with_biases("model", {"fc1": (WIDTH, 7 * WIDTH), "fc2": (7, WIDTH)} | {
        f"mlp_resnet_blocks.{block}.ffn.1": (WIDTH, WIDTH) for block in range(2)})
    state = {"fc1.weight": (WIDTH, 8), "fc1.bias": (WIDTH,), "fc2.weight": (WIDTH, WIDTH), "fc2.bias": (WIDTH,)}
    return {"action_head": head, "proprio_projector": state}


def decoder_shapes() -> dict[str, tuple[int, ...]]:
    """UniVLA's action decoder."""
    shapes = {"proj.0.weight": (7 * WINDOW, DECODER_WIDTH), "proj.0.bias": (7 * WINDOW,)}
    for pool in ("latent_action_pool", "visual_pool"):
        shapes |= {f"{pool}.latents": (1, DECODER_WIDTH), f"{pool}.attn_norm.g": (DECODER_WIDTH,),
                   f"{pool}.mlp_norm.g": (DECODER_WIDTH,),
                   f"{pool}.attn.q.weight": (DECODER_WIDTH, DECODER_WIDTH),
                   f"{pool}.attn.kv.weight": (2 * DECODER_WIDTH, DECODER_WIDTH)}
        shapes |= with_biases(pool, {"projection": (DECODER_WIDTH, WIDTH), "attn.proj": (DECODER_WIDTH, DECODER_WIDTH),
                                     "mlp.0.project": (8 * DECODER_WIDTH, DECODER_WIDTH),
                                     "mlp.1": (DECODER_WIDTH, 4 * DECODER_WIDTH)})
    return shapes


def tensors(shapes: dict[str, tuple[int, ...]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Seeded weights; scales and norms stand around 1."""
    made = {}
    for name, shape in shapes.items():
        values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
        near_one = name.endswith((".g", "scale_factor")) or ("norm" in name or ".ffn.0" in name) and "bias" not in name
        values = 1 + 0.2 * values if near_one else values * (1.0 / shape[-1] ** 0.5 if len(shape) == 2 else 0.2)
        if name.endswith("lm_head.weight"):  # a network that answers in action tokens
            values[31744:32000] *= 3
            values[32001:32033] *= 3
        made[name] = torch.from_numpy(np.asarray(values, np.float32)).to(dtype)
    return made


def write_checkpoint(folder: Path, kind: str, dtype: torch.dtype = torch.float32, side: int = 224) -> Path:
    """A folder as published for `kind`, "openvla", "openvla-oft" or "univla", with pictures of `side` pixels."""
    folder.mkdir(parents=True)
    made = tensors(model_shapes(side), dtype)
    names = list(made)
    shards = {"model-00001-of-00002.safetensors": names[:len(names) // 2],
              "model-00002-of-00002.safetensors": names[len(names) // 2:]}
    for file, own in shards.items():
        save_file({name: made[name] for name in own}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(t.nbytes for t in made.values())},
             "weight_map": {name: file for file, own in shards.items() for name in own}}
    write(folder / "model.safetensors.index.json", index)
    write(folder / "config.json", config(str(dtype).removeprefix("torch."), side))
    write(folder / "preprocessor_config.json", {
        "image_resize_strategy": "resize-naive", "input_sizes": [[3, side, side], [3, side, side]],
        "interpolations": ["bicubic", "bicubic"], "use_fused_vision_backbone": True,
        "means": [[0.484375, 0.455078125, 0.40625], [0.5, 0.5, 0.5]],
        "stds": [[0.228515625, 0.2236328125, 0.224609375], [0.5, 0.5, 0.5]]})
    write(folder / "dataset_statistics.json", STATISTICS)
    write_tokenizer(folder / "tokenizer.json")
    if kind == "openvla-oft":
        for name, shapes in head_shapes().items():
            torch.save({f"module.{key}": t for key, t in tensors(shapes, dtype).items()},
                       folder / f"{name}--150000_checkpoint.pt")
    if kind == "univla":
        torch.save(tensors(decoder_shapes()), folder / "action_decoder.pt")
    return folder


def config(dtype: str, side: int) -> dict:
    return {
        "architectures": ["OpenVLAForActionPrediction"], "model_type": "openvla", "torch_dtype": dtype,
        "arch_specifier": "no-align+fused-gelu-mlp", "vision_backbone_id": "dinosiglip-vit-so-224px",
        "llm_backbone_id": "llama2-7b-pure", "image_resize_strategy": "resize-naive", "image_sizes": [side, side],
        "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
        "timm_override_act_layers": [None, None], "use_fused_vision_backbone": True, "n_action_bins": 256,
        "pad_to_multiple_of": 64, "pad_token_id": 32000, "norm_stats": {}, "tower_sizes": towers(side),
        "text_config": {"model_type": "llama", "torch_dtype": dtype, "vocab_size": VOCABULARY, "pad_token_id": 32000,
                        "hidden_size": WIDTH, "intermediate_size": MLP, "num_hidden_layers": LAYERS,
                        "num_attention_heads": HEADS, "num_key_value_heads": HEADS},
    }


def write_tokenizer(path: Path) -> None:
    """Words with ids of Llama's order, a begin of sequence, and UniVLA's latent actions behind the words."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {word: 100 + i for i, word in enumerate(WORDS)}
    vocabulary |= {"<PAD>": 32000} | {f"<ACT_{i}>": 32001 + i for i in range(32)}
    # The library prints every hole in the ids.
    vocabulary |= {f"word{i}": i for i in set(range(32033)) - set(vocabulary.values())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(f"<ACT_{i}>", special=True) for i in range(32)])
    tokenizer.save(str(path))


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
