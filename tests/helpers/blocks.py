"""Small random decoder blocks with the statistics of explicit tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from harness.layers.factors import CompressedLinear
from harness.layers.roles import SITE_OF_ROLE, Role, Site
from harness.layers.weights import AttentionGeometry, BlockWeights, LinearWeights
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.moments import Moments
from tests.helpers.oracles import Array, gaussian, moment, symmetric_root, tensor

TOKENS = 120


@dataclass(frozen=True)
class Shape:
    """Architecture of a block; ``biased`` are the roles that have a bias."""

    width: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    activation: str
    gated: bool
    biased: tuple[Role, ...] = ()
    rotary: bool = False
    head_norms: bool = False


ATTENTION: tuple[Role, ...] = ("query", "key", "value")
SHAPES = {
    "opt": Shape(12, 3, 3, 4, 20, "relu", False, (*ATTENTION, "output", "up", "down")),
    "llama": Shape(12, 4, 2, 4, 18, "silu", True, rotary=True),
    "qwen2": Shape(12, 3, 1, 4, 18, "silu", True, ATTENTION, rotary=True),
    "qwen3": Shape(10, 4, 2, 4, 15, "silu", True, rotary=True, head_norms=True),
    "gelu": Shape(10, 2, 2, 4, 16, "gelu", False, ("up", "down")),
}


@dataclass(frozen=True)
class Sample:
    """A block, its statistics, and the tokens at every site they were taken from."""

    block: BlockWeights
    statistics: BlockStatistics
    tokens: dict[Site, Array]


def activate(name: str, x: Array) -> Array:
    functions = {
        "relu": torch.relu,
        "silu": torch.nn.functional.silu,
        "gelu": torch.nn.functional.gelu,
    }
    return functions[name](tensor(x)).numpy()


def moments_of(X: Array) -> Moments:
    return Moments(
        count=len(X),
        second=tensor(X.T @ X / len(X)),
        mean=tensor(X.mean(0)),
        magnitude=tensor(np.abs(X).mean(0)),
    )


def apply(layer: LinearWeights, X: Array) -> Array:
    y = X @ layer.weight.double().numpy().T
    return y if layer.bias is None else y + layer.bias.detach().double().numpy()


def claimed(factor: CompressedLinear) -> LinearWeights:
    """The map in the dense layer's own basis, which identity blocks in heads change."""
    return factor.equivalent or LinearWeights(factor.dense(), factor.bias)


def inner_activations(block: BlockWeights, X: Array) -> Array:
    layers = block.layers
    if "gate" in layers:
        return activate(block.activation, apply(layers["gate"], X)) * apply(layers["up"], X)
    return activate(block.activation, apply(layers["up"], X))


def sample(name: str, seed: int = 1, tokens: int = TOKENS) -> Sample:
    shape = SHAPES[name]
    q, kv = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    sizes: dict[Role, tuple[int, int]] = {
        "query": (q, shape.width),
        "key": (kv, shape.width),
        "value": (kv, shape.width),
        "output": (shape.width, q),
        "up": (shape.inner, shape.width),
        "down": (shape.width, shape.inner),
    }
    if shape.gated:
        sizes["gate"] = (shape.inner, shape.width)
    layers: dict[Role, LinearWeights] = {}
    for index, (role, size) in enumerate(sizes.items()):
        bias = tensor(gaussian(seed + 50 + index, size[0])) if role in shape.biased else None
        layers[role] = LinearWeights(tensor(gaussian(seed + 70 + index, *size)), bias)

    def normed(index: int, weights: Array) -> torch.Tensor | None:
        return tensor(weights) if shape.head_norms else None

    block = BlockWeights(
        layers=layers,
        attention=AttentionGeometry(
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_size=shape.head_size,
            rotary=torch.tensor([1.0, 0.1]) if shape.rotary else None,
            query_norm=normed(0, np.array([1.0, 0.5, 2.0, 1.5])),
            key_norm=normed(1, np.array([0.7, 1.1, 0.2, 1.9])),
        ),
        activation=shape.activation,
    )
    read: dict[Site, Array] = {}
    for index, (site, size) in enumerate(
        [("attention_input", shape.width), ("attention_output", q), ("mlp_input", shape.width)]
    ):
        root = symmetric_root(moment(seed + index, size, span=2))
        X = gaussian(seed + 10 + index, tokens, size) @ root
        read[site] = X + 0.3 * gaussian(seed + 20 + index, size)
    read["mlp_inner"] = inner_activations(block, read["mlp_input"])
    norms = None
    if shape.head_norms:
        norms = (
            tensor(np.linspace(0.5, 2, shape.heads)),
            tensor(np.linspace(2, 0.5, shape.kv_heads)),
        )
    statistics = BlockStatistics(
        moments={site: moments_of(X) for site, X in read.items()},
        mlp_tokens=tensor(read["mlp_input"]),
        inverse_norms=norms,
    )
    assert set(SITE_OF_ROLE.values()) == set(read)
    return Sample(block, statistics, read)
