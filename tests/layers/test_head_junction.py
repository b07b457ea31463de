"""Identity blocks inside heads: another basis of each head, the same attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors.joint.config import Config
from compressors.latentllm import plugin
from harness.algebra.lowrank import Product
from harness.layers.factors import CompressedLinear, HeadIdentity, stored_bytes
from harness.layers.junction import join_heads
from harness.layers.roles import Role
from harness.layers.weights import LinearWeights
from tests.helpers.blocks import SHAPES, Sample, claimed, sample
from tests.helpers.oracles import Array, array, gaussian, properties, tensor

FREE_KEYS = {"opt", "gelu"}


def compress(subject: Sample, keep: float, **options: Any) -> dict[Role, CompressedLinear]:
    config = Config(head_junction=True, **options)
    return dict(plugin.compress(subject.block, subject.statistics, keep, config))


def product(seed: int, heads: int, size: int, width: int, rank: int) -> Product:
    return Product(
        tensor(gaussian(seed, heads * size, rank)), tensor(gaussian(seed + 1, rank, width))
    )


def turned_back(factor: CompressedLinear, basis: torch.Tensor, X: Array) -> Array:
    """The factor's output in the dense layer's own basis."""
    y = array(factor(tensor(X))).reshape(len(X), len(basis), -1)
    return np.einsum("hab,nhb->nha", array(basis), y).reshape(len(X), -1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("heads", "size", "width", "rank"), [(3, 4, 12, 6), (1, 4, 9, 4), (2, 3, 6, 6), (4, 1, 5, 2)]
)
def test_each_head_is_the_same_map_in_another_basis(
    heads: int, size: int, width: int, rank: int, bias: bool
) -> None:
    pair = product(1, heads, size, width, rank)
    b = gaussian(3, heads * size) if bias else None
    factor, basis = join_heads(pair, heads, None if b is None else tensor(b))
    X = gaussian(4, 7, width)
    wanted = X @ array(pair.dense()).T + (0 if b is None else b)
    np.testing.assert_allclose(turned_back(factor, basis, X), wanted, atol=1e-9)
    assert factor.rank == rank
    saved = rank**2 + heads * size**2
    assert factor.weight_parameters() == rank * (width + heads * size) - saved
    assert factor.interpolation_bound() <= 2
    index = width + heads * rank
    assert stored_bytes(factor) == 8 * sum(p.numel() for p in factor.parameters()) + 4 * index


@properties
@given(
    seed=st.integers(0, 1000),
    heads=st.integers(1, 4),
    size=st.integers(1, 5),
    more=st.integers(0, 6),
    lead=st.sampled_from([(), (3,), (2, 3), (0,)]),
)
def test_the_module_runs_as_its_dense_weight(
    seed: int, heads: int, size: int, more: int, lead: tuple[int, ...]
) -> None:
    rank = size + more
    factor, _ = join_heads(
        product(seed, heads, size, rank + 2, rank), heads, tensor(gaussian(seed, heads * size))
    )
    x = tensor(gaussian(seed + 5, *lead, rank + 2))
    assert factor.bias is not None
    torch.testing.assert_close(factor(x), x @ factor.dense().T + factor.bias)


# Inside a block ----------------------------------------------------------------------------------


Layers = dict[Role, tuple[Array, Array]]


def weights(layers: Mapping[Role, LinearWeights]) -> Layers:
    """Weight and bias of each layer; zeros where there is none."""
    return {
        role: (
            array(layer.weight),
            np.zeros(len(layer.weight)) if layer.bias is None else array(layer.bias),
        )
        for role, layer in layers.items()
    }


def dense_layers(subject: Sample) -> Layers:
    return weights(subject.block.layers)


def stored_layers(factors: dict[Role, CompressedLinear]) -> Layers:
    """What runs."""
    return weights({role: LinearWeights(f.dense(), f.bias) for role, f in factors.items()})


def claimed_layers(factors: dict[Role, CompressedLinear]) -> Layers:
    """What reports are made of."""
    return weights({role: claimed(factor) for role, factor in factors.items()})


def attend(subject: Sample, layers: Layers) -> tuple[Array, Array]:
    """Scores of all pairs of tokens, and the output of every token attending to itself alone."""
    geometry = subject.block.attention
    X = subject.tokens["attention_input"]

    def heads(role: Role, count: int) -> Array:
        W, b = layers[role]
        split = (X @ W.T + b).reshape(len(X), count, -1)
        return np.repeat(split, geometry.heads // count, axis=1)

    queries, keys = heads("query", geometry.heads), heads("key", geometry.kv_heads)
    values = heads("value", geometry.kv_heads).reshape(len(X), -1)
    W, b = layers["output"]
    return np.einsum("nha,mha->hnm", queries, keys), values @ W.T + b


@pytest.mark.parametrize("vo_statistics", ["input", "output"])
@pytest.mark.parametrize("policy", ["auto", "always", "never"])
@pytest.mark.parametrize("keep", [0.6, 0.8])
@pytest.mark.parametrize("name", SHAPES)
def test_attention_is_that_of_the_claimed_layers(
    name: str, keep: float, policy: str, vo_statistics: str
) -> None:
    subject = sample(name)
    factors = compress(subject, keep, bias_update=policy, vo_statistics=vo_statistics)
    stored = attend(subject, stored_layers(factors))
    claimed = attend(subject, claimed_layers(factors))
    for found, wanted in zip(stored, claimed, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-8 * np.abs(wanted).max())
    for role, free in (("value", True), ("key", name in FREE_KEYS)):
        whole_heads = factors[role].rank >= subject.block.attention.head_size
        assert isinstance(factors[role], HeadIdentity) == (free and whole_heads)


@pytest.mark.parametrize("name", SHAPES)
def test_removing_nothing_leaves_attention_exact(name: str) -> None:
    subject = sample(name)
    factors = compress(subject, 1)
    dense = attend(subject, dense_layers(subject))
    for found, wanted in zip(attend(subject, stored_layers(factors)), dense, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.parametrize("keep", [0.4, 0.6, 0.8, 1])
@pytest.mark.parametrize("name", SHAPES)
def test_what_heads_save_is_spent_on_rank_within_the_budget(name: str, keep: float) -> None:
    subject = sample(name)
    plain = plugin.compress(subject.block, subject.statistics, keep, Config(head_junction=False))
    for role, factor in compress(subject, keep).items():
        d_out, d_in = subject.block.layers[role].weight.shape
        assert factor.weight_parameters() <= keep * d_out * d_in
        assert factor.rank >= plain[role].rank
        if isinstance(factor, HeadIdentity) and keep < 1:
            assert factor.rank > plain[role].rank


@pytest.mark.parametrize("junction", ["left", "right", "symmetric", "block-identity-output"])
def test_other_junctions_are_left_as_they_are(junction: Any) -> None:
    subject = sample("opt")
    without = plugin.compress(subject.block, subject.statistics, 0.6, Config(junction=junction))
    for role, factor in compress(subject, 0.6, junction=junction).items():
        assert torch.equal(factor.dense(), without[role].dense())


@pytest.mark.parametrize("kind", ["dead", "deficient", "nearly deficient"])
def test_a_head_without_full_rank_keeps_its_bias(kind: str) -> None:
    """The basis of such a head cannot be inverted, yet its bias must reach the output."""
    subject = sample("opt")
    layers = dict(subject.block.layers)
    for role in ("key", "value"):
        weight = layers[role].weight.clone()
        weight[0] = {
            "dead": 0 * weight[0],
            "deficient": weight[1],
            "nearly deficient": weight[1] + 1e-7 * weight[0],
        }[kind]
        if kind == "dead":
            weight[:4] = 0
        layers[role] = LinearWeights(weight, layers[role].bias)
    subject = replace(subject, block=replace(subject.block, layers=layers))
    for keep in (0.6, 1):
        factors = compress(subject, keep)
        stored = attend(subject, stored_layers(factors))
        claimed = attend(subject, claimed_layers(factors))
        for found, wanted in zip(stored, claimed, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-8 * np.abs(wanted).max())
        for factor in factors.values():
            assert all(bool(torch.isfinite(p.half()).all()) for p in factor.parameters())
