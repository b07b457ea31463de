"""How much a KV cache holds: read off the object, and told from the model's shapes."""

from __future__ import annotations

from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from harness.families.family import Family
from harness.latent.attention import LatentAttention


def cache_bytes(cache: Cache) -> int:
    """Bytes of the tensors that ``cache`` holds at the moment."""
    layers = [layer for layer in cache.layers if isinstance(layer, CacheLayerMixin)]
    held = (tensor for layer in layers for tensor in (layer.keys, layer.values))
    return sum(tensor.numel() * tensor.element_size() for tensor in held if tensor is not None)


def expected_numbers(model: PreTrainedModel, family: Family, batch: int, tokens: int) -> int:
    """Numbers that a ``DynamicCache`` made for ``model`` holds after ``batch`` rows of ``tokens``.

    A layer takes ``r_k + r_v`` a token where it caches latents and ``2 kv_heads head_size`` where
    it does not; a window of ``w`` tokens keeps ``w - 1``. Rotations take ``head_size`` a token,
    once for each window among the latent layers.
    """
    full = full_numbers(model, family)
    numbers = 0
    rotations: dict[int, int] = {}
    empty = DynamicCache(config=model.config).layers
    for block, layer in zip(family.blocks(model), empty, strict=True):
        attention = block.module.get_submodule(family.language.attention)
        window: int | None = getattr(layer, "sliding_window", None)
        kept = tokens if window is None else min(tokens, window - 1)
        if isinstance(attention, LatentAttention):
            numbers += kept * attention.cached_numbers()
            rotations[kept] = attention.rotation_numbers()
        else:
            numbers += kept * full
    return batch * (numbers + sum(kept * size for kept, size in rotations.items()))


def full_numbers(model: PreTrainedModel, family: Family) -> int:
    """Numbers a token that one layer of the model takes in an expanded cache."""
    config = family.language.own_config(model)
    head_size = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    kv_heads: int = getattr(config, "num_key_value_heads", config.num_attention_heads)
    return 2 * kv_heads * head_size
