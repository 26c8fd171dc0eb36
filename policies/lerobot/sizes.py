"""Sizes of LeRobot checkpoints with random weights: small ones of every kind, and the published ones of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.lerobot.random_weights import PICTURE, Sizes

_SMALL = {"chunk_size": 6, "n_action_steps": 6, "max_state_dim": 10, "max_action_dim": 9}
_VISION = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2}
_PICTURES = {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14}
_GEMMA = {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 8, "num_hidden_layers": 2,
          "hidden_activation": "gelu_pytorch_tanh", "vocab_size": 64}
_TEXT = {"hidden_size": 32, "intermediate_size": 64}
_PALIGEMMA = {
    "paligemma": {"projection_dim": 32, "image_token_index": 63,
                  "text_config": {"model_type": "gemma"} | _GEMMA | _TEXT,
                  "vision_config": _VISION | _PICTURES | {"projection_dim": 32, "vision_use_head": False}},
    "expert": _GEMMA | {"hidden_size": 16, "intermediate_size": 32}}
_PI = _SMALL | {"tokenizer_max_length": 48, "num_inference_steps": 3, "image_resolution": (28, 28)}
_SMOLVLM = {
    "text_config": _TEXT | {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
                            "num_hidden_layers": 4, "vocab_size": 64, "pad_token_id": 0},
    "vision_config": _VISION | {"image_size": 32, "patch_size": 8},
    "scale_factor": 2, "image_token_id": 9, "pad_token_id": 0, "tokens": 4}


def _groot(text: Mapping[str, Any], vision: Mapping[str, Any], head: Mapping[str, Any], horizon: int, layers: int,
           side: int) -> dict[str, Any]:
    """N1.5's base model and Eagle, as their configs name everything."""
    blocks = {"dropout": 0.2, "final_dropout": True, "positional_embeddings": None}
    dit = blocks | {"cross_attention_dim": text["hidden_size"], "interleave_self_attention": True,
                    "norm_type": "ada_norm"} | head["diffusion_model_cfg"]
    adapter = blocks | head["vl_self_attention_cfg"]
    own = {"add_pos_embed": True, "noise_beta_alpha": 1.5, "noise_beta_beta": 1.0, "noise_s": 0.999,
           "num_timestep_buckets": 1000, "use_vlln": True, "backbone_embedding_dim": text["hidden_size"],
           "action_horizon": horizon}
    action_dim = head["action_dim"]
    return {
        "network": {"backbone_cfg": {"select_layer": layers, "project_to_dim": None}, "action_horizon": horizon,
                    "action_dim": action_dim,
                    "action_head_cfg": own | dict(head) | {"diffusion_model_cfg": dit, "vl_self_attention_cfg": adapter,
                                                           "max_action_dim": action_dim}},
        "eagle": {"model_type": "eagle_2_5_vl", "force_image_size": side, "downsample_ratio": 0.5, "select_layer": -1,
                  "use_pixel_shuffle": False, "mlp_connector_layers": 1, "image_token_index": PICTURE,
                  "text_config": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
                                  "tie_word_embeddings": True, **text},
                  "vision_config": {"model_type": "siglip_vision_model", "patch_size": 14, "image_size": side,
                                    **vision}}}


TINY: Mapping[str, Sizes] = {
    "pi0": Sizes("pi0", _PI, _PALIGEMMA),
    "pi05": Sizes("pi05", _PI, _PALIGEMMA),
    "smolvla": Sizes("smolvla", _SMALL | {"tokenizer_max_length": 48, "num_steps": 3, "num_vlm_layers": 4,
                                          "resize_imgs_with_padding": (32, 32)}, vlm=_SMOLVLM),
    "groot": Sizes("groot", _SMALL | {"use_bf16": False}, _groot(
        _TEXT | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "num_hidden_layers": 4,
                 "vocab_size": 264}, _VISION,
        {"diffusion_model_cfg": {"num_attention_heads": 4, "attention_head_dim": 8, "num_layers": 4, "output_dim": 16},
         "vl_self_attention_cfg": {"num_attention_heads": 4, "attention_head_dim": 8, "num_layers": 1},
         "hidden_size": 16, "input_embedding_dim": 32, "max_state_dim": 10, "action_dim": 9, "max_seq_len": 16,
         "max_num_embodiments": 32, "num_inference_timesteps": 3, "num_target_vision_tokens": 3}, 6, 2, 28)),
}
"""LeRobot's name of a policy -> a network that a CPU answers with at once."""


def pi05() -> Sizes:
    """pi0.5 as published, in 16 bits."""
    return Sizes("pi05", {"dtype": "bfloat16"})


def groot_n15() -> Sizes:
    """GR00T N1.5 as published: the first 12 layers of a Qwen3 1.7B, a SigLIP of 27, 16 blocks, 4 steps."""
    text = {"hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16, "num_key_value_heads": 8,
            "head_dim": 128, "num_hidden_layers": 28, "vocab_size": 151680, "rope_theta": 1e6, "rms_norm_eps": 1e-6}
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27}
    head = {"diffusion_model_cfg": {"num_attention_heads": 32, "attention_head_dim": 48, "num_layers": 16,
                                    "output_dim": 1024},
            "vl_self_attention_cfg": {"num_attention_heads": 32, "attention_head_dim": 64, "num_layers": 4},
            "hidden_size": 1024, "input_embedding_dim": 1536, "max_state_dim": 64, "action_dim": 32,
            "max_seq_len": 1024, "max_num_embodiments": 32, "num_inference_timesteps": 4,
            "num_target_vision_tokens": 32}
    return Sizes("groot", {}, _groot(text, vision, head, 16, 12, 224))
