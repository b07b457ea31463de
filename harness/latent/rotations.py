"""The rotation of each cached token, kept once for all layers.

A latent is cached before rotary embedding, so its rotation must be known when its key is
expanded. Positions do not tell it (frequencies may change with length, images have three axes,
padding shifts each row), thus the cosines and sines themselves are stored: one number per
coordinate of a head and token, whatever the number of layers. They form one more layer of the
cache, of the same class as the layers they serve, and so are reordered, cropped, repeated and
evicted with them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import (
    CacheLayerMixin,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    StaticLayer,
    StaticSlidingWindowLayer,
)

from harness.errors import UsageError

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines ``[batch, 1, tokens, head_size / 2]``."""

EXACT_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer)


@dataclass
class _Companion:
    """Rotations of the layers of one kind; ``writer`` is the first such layer of a forward pass."""

    layer: CacheLayerMixin
    writer: int
    current: Rotation | None = None


def remember(
    cache: Cache, index: int, latents: tuple[Tensor, Tensor], layers: int
) -> tuple[Tensor, Tensor]:
    """Append ``latents`` to layer ``index`` of ``cache``, made of ``layers``; all that it holds.

    Raises:
        UsageError: the cache changes what it stores, or was filled with keys and values.
    """
    layer = _layer(cache, index, layers)
    stored = layer.keys if layer.is_initialized else None
    # One head of the latent's rank; a layer that grows starts as an empty vector.
    if stored is not None and stored.numel() and stored.shape[1::2] != latents[0].shape[1::2]:
        raise UsageError(
            f"the cache given holds other tensors than latents of rank {latents[0].shape[-1]}; "
            "start from an empty cache"
        )
    return cache.update(*latents, index)


def remember_rotation(cache: Cache, index: int, rotation: Rotation, layers: int) -> Rotation:
    """Rotations of all tokens in layer ``index``; to be called before ``remember``."""
    layer = _layer(cache, index, layers)
    kind = type(layer).__name__, int(layer.get_max_length())
    companions: dict[tuple[str, int], _Companion] = vars(cache).setdefault("latent_rotations", {})
    companion = companions.get(kind)
    if companion is None:
        if layer.is_initialized:
            raise UsageError(
                "the cache given was not filled by latent attention; start from an empty cache"
            )
        companion = companions[kind] = _Companion(copy.deepcopy(layer), index)
        cache.layers.append(companion.layer)
    if index == companion.writer:
        companion.current = companion.layer.update(*rotation)
    assert companion.current is not None
    cos, sin = companion.current
    return cos.to(rotation[0].device), sin.to(rotation[1].device)


def _layer(cache: Cache, index: int, layers: int) -> CacheLayerMixin:
    if cache.layer_class_to_replicate is not None:
        while len(cache.layers) < layers:
            cache.layers.append(cache.layer_class_to_replicate())
    layer = cache.layers[index]
    if not isinstance(layer, CacheLayerMixin) or type(layer) not in EXACT_LAYERS:
        raise UsageError(
            f"latent attention cannot keep its latents in a {type(layer).__name__}; "
            "use a DynamicCache or a StaticCache, or the expanded cache"
        )
    return layer
