"""The decoder's sizes as the checkpoints' `text_config` gives them, with the defaults that held when they were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": None, "hidden_act": "silu", "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "attention_bias": False, "mlp_bias": False, "pad_token_id": None,
    "tie_word_embeddings": False,
}
"""`LlamaConfig` of transformers 4.40.1, which wrote the published files and left out what equals these."""

IRRELEVANT = frozenset({
    "model_type", "torch_dtype", "dtype", "architectures", "_name_or_path", "transformers_version", "use_cache",
    "bos_token_id", "eos_token_id", "initializer_range", "pretraining_tp", "attention_dropout", "rope_scaling",
})
"""Keys that do not change what is computed here; `rope_scaling` is refused unless it is null."""


def text_arguments(text: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `transformers.LlamaConfig`.

    Raises ValueError for a decoder of another kind, and for a key of which nothing is known here.
    """
    if text.get("model_type") != "llama" or text.get("rope_scaling") is not None:
        raise ValueError(f"text_config has model_type {text.get('model_type')!r} and rope_scaling "
                         f"{text.get('rope_scaling')!r}; known is 'llama' without scaling")
    strange = sorted(set(text) - set(DEFAULTS) - IRRELEVANT - {"head_dim"})
    if strange:
        raise ValueError(f"text_config has the unknown key {strange[0]!r}, which could change what is computed")
    made = {name: text.get(name, default) for name, default in DEFAULTS.items()}
    if text.get("head_dim") is not None:
        made["head_dim"] = text["head_dim"]
    theta = made.pop("rope_theta")
    if made["num_key_value_heads"] is None:
        made["num_key_value_heads"] = made["num_attention_heads"]
    return made | {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
