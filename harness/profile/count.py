"""Parameters, bytes, operations and cache of a model, from its shapes.

Counted are the matrix products that a forward pass over ``batch`` sequences of ``sequence`` tokens
makes in the decoder:

- ``macs``: those of ``harness.layers.macs`` at every position, factors as they run;
- ``attention_macs``: those of scores and weighted values, over all ``sequence^2`` pairs, causal or
  not.

A multiply-accumulate is two floating-point operations, and torch's own counter finds the same
numbers. Norms, activations, softmax, embeddings, rotations and gathers are not counted, nor is a
vision tower, whose work depends on the images; its parameters and bytes are.

The cache holds, for each token and layer, the keys and values: those of the heads, or their latents
(``r_k + r_v`` numbers) where key and value are in factor form. Layers with a sliding window are
counted as if they saw and kept everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from harness.layers.factors import stored_bytes
from harness.layers.macs import macs_per_token
from harness.layers.roles import Role
from harness.layers.shapes import LayerShape
from harness.layers.weights import LinearWeights
from harness.profile.skeleton import LayerShapes, Skeleton

CACHED: tuple[Role, ...] = ("key", "value")


@dataclass(frozen=True)
class Workload:
    """``batch`` sequences of ``sequence`` tokens."""

    batch: int
    sequence: int

    @property
    def tokens(self) -> int:
        """Of all sequences."""
        return self.batch * self.sequence


@dataclass(frozen=True)
class Count:
    """What a model takes. See the module for what is counted.

    Attributes:
        parameters: stored numbers, shared ones once.
        bytes: of all stored tensors, permutations of factors among them.
        macs, attention_macs: of one forward pass over the workload.
        cache_bytes: of keys and values of the whole workload.
        latent_cache_bytes: the same if latents are kept instead.
    """

    parameters: int
    bytes: int
    macs: int
    attention_macs: int
    cache_bytes: int
    latent_cache_bytes: int

    @property
    def flops(self) -> int:
        """Floating-point operations of the products in ``macs``."""
        return 2 * self.macs

    @property
    def attention_flops(self) -> int:
        """Floating-point operations of the products in ``attention_macs``."""
        return 2 * self.attention_macs


def count(subject: Skeleton, shapes: LayerShapes, workload: Workload) -> Count:
    """Count the model with the layers in ``shapes`` in factor form, and all others as they are."""
    dtype = subject.model.dtype
    parameters = sum(p.numel() for p in subject.model.parameters())
    size = stored_bytes(subject.model)
    for block in subject.family.all_blocks(subject.model):
        weights = block.weights(subject.model)
        for role, shape in shapes.get(block.name, {}).items():
            taken, freed = _sizes(shape, dtype), _numel(weights.layers[role])
            parameters += taken.parameters - freed
            size += taken.bytes - freed * dtype.itemsize
    macs = macs_per_token(subject.model)
    attention = cached = latents = 0
    for block, weights in subject.blocks():
        dense = {role: layer.weight.shape for role, layer in weights.layers.items()}
        compressed = shapes.get(block.name, {})
        for role, shape in compressed.items():
            macs += _sizes(shape, dtype).macs - dense[role].numel()
        attention += 2 * weights.attention.heads * weights.attention.head_size
        for role in CACHED:
            width = dense[role][0]
            cached += width
            latents += min(compressed[role].rank, width) if role in compressed else width
    keeps = 0 if subject.head is None else workload.tokens * dtype.itemsize
    return Count(
        parameters=parameters,
        bytes=size,
        macs=macs * workload.tokens,
        attention_macs=attention * workload.tokens * workload.sequence,
        cache_bytes=cached * keeps,
        latent_cache_bytes=latents * keeps,
    )


def removed_share(shapes: LayerShapes) -> float:
    """Share of their layers' weights that ``shapes`` do without."""
    layers = [shape for block in shapes.values() for shape in block.values()]
    before = sum(shape.d_out * shape.d_in for shape in layers)
    return 1 - sum(_sizes(shape, torch.float32).macs for shape in layers) / before


@dataclass(frozen=True)
class _Sizes:
    parameters: int
    bytes: int
    macs: int


@cache
def _sizes(shape: LayerShape, dtype: torch.dtype) -> _Sizes:
    with torch.device("meta"):
        factor = shape.random().to(dtype)
    return _Sizes(
        parameters=sum(p.numel() for p in factor.parameters()),
        bytes=stored_bytes(factor),
        macs=factor.weight_parameters(),
    )


def _numel(layer: LinearWeights) -> int:
    return layer.weight.numel() + (0 if layer.bias is None else layer.bias.numel())
