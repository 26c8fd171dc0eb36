"""The decoder's states at the action slots, with less arithmetic than `Backbone.context`: what training needs.

Attention is causal and the instruction comes first, so its keys and values are the same in all samples of a task and
are computed once for each of a batch; and of the last layer only the slots are read, so that of all other tokens it
needs keys and values alone. The result and its gradient are those of `Backbone.context`, up to the order of sums.
"""

from __future__ import annotations

import torch
from transformers import DynamicCache
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, apply_rotary_pos_emb

from policies.pocket.model import CHUNK, Backbone, attention_bias


def slot_states(
    module: Backbone, images: torch.Tensor, state: torch.Tensor, words: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """The arguments of `Backbone.embed`, to the decoder's last states at the slots, float[B, H, D]."""
    cache = DynamicCache(config=module.language.config)
    texts, sample_text = torch.unique(torch.cat([words, mask], dim=1), dim=0, return_inverse=True)
    words_once, mask_once = texts.chunk(2, dim=1)
    _through(module, module.language.embed_tokens(words_once), mask_once, cache, read=0)
    cache.batch_select_indices(sample_text)
    tokens, attend = module.embed(images, state, words, mask)
    return _through(module, tokens[:, words.shape[1]:], attend, cache, read=CHUNK)


def _through(module: Backbone, tokens: torch.Tensor, attend: torch.Tensor, cache: DynamicCache,
             read: int) -> torch.Tensor:
    """The last `read` tokens' states; keys and values of all tokens are added to `cache`."""
    language, known = module.language, cache.get_seq_length()
    count = tokens.shape[1]
    at = torch.arange(known, known + count, device=tokens.device)
    position = language.rotary_emb(tokens, position_ids=at[None])
    seen = (at[:, None] >= torch.arange(known + count, device=tokens.device)) & attend[:, None, None].bool()
    bias = attention_bias(seen, tokens.dtype)
    *layers, last = language.layers
    for layer in layers:
        tokens = layer(tokens, attention_mask=bias, position_embeddings=position, past_key_values=cache)
    first = count - read
    _remember(last, tokens[:, :first], tuple(part[:, :first] for part in position), cache)
    if not read:
        return tokens[:, :0]
    tokens = last(tokens[:, first:], attention_mask=bias[:, :, first:], past_key_values=cache,
                  position_embeddings=tuple(part[:, first:] for part in position))
    return language.norm(tokens)


def _remember(layer: LlamaDecoderLayer, tokens: torch.Tensor, position: tuple[torch.Tensor, ...],
              cache: DynamicCache) -> None:
    attention, normed = layer.self_attn, layer.input_layernorm(tokens)
    keys, values = (linear(normed).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
                    for linear in (attention.k_proj, attention.v_proj))
    _, keys = apply_rotary_pos_emb(keys, keys, *position)
    cache.update(keys, values, attention.layer_idx)
