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

import torch
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
"""Cosines and sines, ``[batch, 1, tokens, head_size / 2]`` where nothing else is said."""

EXACT_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer)


@dataclass
class _Companion:
    """Rotations of the layers of one kind; ``writer`` is the first such layer of a forward pass."""

    layer: CacheLayerMixin
    writer: int
    new_phases: Tensor | None = None
    cached: Rotation | None = None


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


def remember_rotation(
    cache: Cache, index: int, embeddings: Rotation, batch: int, layers: int
) -> tuple[Tensor, Rotation]:
    """Append the rotations of new tokens, once for all layers; to be called before ``remember``.

    Args:
        cache: what layer ``index`` of ``layers`` keeps its latents in.
        index: of the layer that asks.
        embeddings: ``[1 or batch, n, head_size]``, cosines and sines whose halves are equal.
        batch: rows of the cache.
        layers: of the decoder.

    Returns:
        The phases of the new tokens, and the rotations of all that layer ``index`` holds.
    """
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
        half = embeddings[0].shape[-1] // 2
        cos, sin = (e[..., :half].expand(batch, -1, -1)[:, None] for e in embeddings)
        companion.cached = companion.layer.update(cos, sin)
        companion.new_phases = rotation_phases((cos, sin))
    assert companion.cached is not None
    assert companion.new_phases is not None
    device = embeddings[0].device
    cos, sin = companion.cached
    return companion.new_phases.to(device), (cos.to(device), sin.to(device))


def rotation_phases(rotation: Rotation) -> Tensor:
    """The complex numbers ``cos + i sin`` that pairs of coordinates are multiplied by."""
    cos, sin = rotation
    precision = torch.promote_types(cos.dtype, torch.float32)
    return torch.complex(cos.to(precision), sin.to(precision))


def rotate(x: Tensor, phases: Tensor) -> Tensor:
    """Rotate the pairs that the halves of each head ``x: [batch, heads, n, head_size]`` form.

    The two of a pair stand side by side in the result, which no product of a query and a key
    shows. One complex product passes over memory once, those of halves seven times.
    """
    pairs = torch.complex(*x.to(phases.real.dtype).chunk(2, -1))
    return torch.view_as_real(pairs * phases).flatten(-2).to(x.dtype)


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
