"""LatentLLM's joint pairs, end to end: stored factors against Tucker and attention maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from algebra_blocks import Sample, moments_of, sample
from algebra_oracles import Array, array, damped, squared, symmetric_root, tensor
from tensorly.decomposition import partial_tucker

from compressors.latentllm import Config, plugin
from harness.algebra import joint_qk
from harness.algebra.rotary import rotations
from harness.block import BlockWeights, LinearWeights
from harness.compressor import BlockStatistics
from harness.factors import Factor
from harness.roles import Role


def compress(subject: Sample, keep: float, **options: Any) -> dict[Role, Factor]:
    return dict(plugin.compress(subject.block, subject.statistics, keep, Config(**options)))


def heads(rows: Array, count: int) -> Array:
    return rows.reshape(count, -1, *rows.shape[1:])


def attention_maps(
    subject: Sample, layers: dict[str, tuple[Array, Array]], scales: tuple[Array, Array]
) -> Array:
    """Scores of all pairs of the attention input's tokens, no rotation: ``[h, n, n]``."""
    geometry = subject.block.attention
    X = subject.tokens["attention_input"]

    def run(role: str, count: int, scale: Array) -> Array:
        W, b = layers[role]
        return (X @ W.T + b).reshape(len(X), count, -1).transpose(1, 0, 2) * scale

    queries = run("query", geometry.heads, scales[0])
    keys = run("key", geometry.kv_heads, scales[1])
    return queries @ np.repeat(keys, len(queries) // len(keys), axis=0).transpose(0, 2, 1)


def as_arrays(role_layers: Any) -> dict[str, tuple[Array, Array]]:
    out = {}
    for role in ("query", "key"):
        layer = role_layers[role]
        W = array(layer.dense() if isinstance(layer, Factor) else layer.weight)
        out[role] = (W, np.zeros(len(W)) if layer.bias is None else array(layer.bias))
    return out


def unrotated(name: str) -> Sample:
    subject = sample(name)
    geometry = replace(subject.block.attention, rotary=None)
    return replace(subject, block=replace(subject.block, attention=geometry))


def head_scales(subject: Sample) -> tuple[Array, Array]:
    """What qk-norm does to a head on average: its weight times the mean inverse norm."""
    geometry, norms = subject.block.attention, subject.statistics.inverse_norms
    if norms is None or geometry.query_norm is None or geometry.key_norm is None:
        return np.ones((1, 1, 1)), np.ones((1, 1, 1))
    return (
        array(norms[0])[:, None, None] * array(geometry.query_norm),
        array(norms[1])[:, None, None] * array(geometry.key_norm),
    )


def whitened_map(subject: Sample, layers: dict[str, tuple[Array, Array]], P: Array) -> Array:
    """``G_i = P^T Wq_i^T Wk_i P`` with heads as qk-norm scales them, ``[h, d, d]``."""
    geometry = subject.block.attention
    scales = head_scales(subject)
    Q = heads(layers["query"][0] @ P, geometry.heads) * scales[0].transpose(0, 2, 1)
    K = heads(layers["key"][0] @ P, geometry.kv_heads) * scales[1].transpose(0, 2, 1)
    return Q.transpose(0, 2, 1) @ np.repeat(K, geometry.group, axis=0)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gelu"])
@pytest.mark.parametrize("keep", [0.8, 0.5])
def test_stored_query_and_key_reach_the_loss_of_partial_tucker(
    name: str, keep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No biases on query and key, rotation ignored; qk-norm as weights of the heads."""
    monkeypatch.setattr(joint_qk, "SETTLED", -1.0)
    subject = sample(name)
    factors = compress(subject, keep, joint=("qk",), rope_window=1, iterations=200)
    C = array(subject.statistics.moments["attention_input"].second)
    P = symmetric_root(damped(C, 0.01))
    G = whitened_map(subject, as_arrays(subject.block.layers), P)
    found = squared(G - whitened_map(subject, as_arrays(factors), P))
    (core, _), _ = partial_tucker(
        G,
        rank=[factors["query"].rank, factors["key"].rank],
        modes=[1, 2],
        n_iter_max=300,
        tol=0,
        init="svd",
    )
    assert found == pytest.approx(squared(G) - squared(core), rel=1e-7)


@pytest.mark.parametrize("name", ["opt", "llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("policy", ["auto", "always", "never"])
def test_joint_query_and_key_beat_local_ones_on_the_attention_map(name: str, policy: str) -> None:
    """True scores of explicit tokens, biases included, no rotation and no damping."""
    subject = unrotated(name)
    options: dict[str, Any] = {"damping": 0, "bias_update": policy}
    scales = head_scales(subject)
    dense = attention_maps(subject, as_arrays(subject.block.layers), scales)
    joint, local = (
        squared(
            dense
            - attention_maps(
                subject, as_arrays(compress(subject, 0.5, joint=pairs, **options)), scales
            )
        )
        for pairs in (("qk",), ())
    )
    assert joint < local


def test_a_window_of_offsets_serves_turned_attention_maps_better_than_none() -> None:
    subject = sample("llama")
    X = subject.tokens["attention_input"]
    geometry = subject.block.attention
    assert geometry.rotary is not None
    turns = array(rotations(geometry.rotary.double(), -torch.arange(10)))

    def error(window: Any) -> float:
        factors = compress(
            subject, 0.5, joint=("qk",), rope_window=window, damping=0, iterations=30
        )
        total = 0.0
        for R in turns:
            maps = []
            for layers in (as_arrays(subject.block.layers), as_arrays(factors)):
                queries = heads(layers["query"][0] @ X.T, geometry.heads)
                keys = R @ heads(layers["key"][0] @ X.T, geometry.kv_heads)
                maps.append(queries.transpose(0, 2, 1) @ np.repeat(keys, geometry.group, axis=0))
            total += squared(maps[0] - maps[1])
        return total

    assert error(10) < error(1)
    assert error(10) <= error("all") * (1 + 1e-6)


def test_qk_norm_changes_which_heads_count() -> None:
    subject = sample("qwen3")
    blind = replace(subject, statistics=replace(subject.statistics, inverse_norms=None))
    scales = head_scales(subject)
    flat = unrotated("qwen3")
    dense = attention_maps(flat, as_arrays(subject.block.layers), scales)
    errors = [
        squared(
            dense
            - attention_maps(
                flat,
                as_arrays(
                    compress(case, 0.4, joint=("qk",), rope_window=1, damping=0, iterations=50)
                ),
                scales,
            )
        )
        for case in (subject, blind)
    ]
    assert errors[0] < errors[1]


# Value and output --------------------------------------------------------------------------------


def output_of_values(subject: Sample, layers: Any, X: Array) -> Array:
    """Output projection of the values of ``X``, each shared by its group of heads."""
    geometry = subject.block.attention

    def run(layer: Factor | LinearWeights, x: Array) -> Array:
        W = layer.dense() if isinstance(layer, Factor) else layer.weight
        y = x @ array(W).T
        return y if layer.bias is None else y + array(layer.bias)

    values = run(layers["value"], X).reshape(len(X), geometry.kv_heads, -1)
    return run(layers["output"], np.repeat(values, geometry.group, axis=1).reshape(len(X), -1))


def reading_values(name: str, biased: tuple[Role, ...] | None = None) -> Sample:
    """A block whose output projection reads the plain values of the attention input."""
    subject = sample(name)
    geometry = subject.block.attention
    layers = dict(subject.block.layers)
    for role in ("value", "output"):
        if biased is not None and role not in biased:
            layers[role] = LinearWeights(layers[role].weight, None)
    X = subject.tokens["attention_input"]
    value = layers["value"]
    V = X @ array(value.weight).T + (0 if value.bias is None else array(value.bias))
    V = np.repeat(V.reshape(len(X), geometry.kv_heads, -1), geometry.group, axis=1)
    V = V.reshape(len(X), -1)
    moments = {**subject.statistics.moments, "attention_output": moments_of(V)}
    return Sample(
        BlockWeights(layers, geometry, subject.block.activation),
        BlockStatistics(moments, subject.statistics.mlp_tokens, subject.statistics.inverse_norms),
        {**subject.tokens, "attention_output": V},
    )


@pytest.mark.parametrize("vo_statistics", ["input", "output"])
@pytest.mark.parametrize("name", ["opt", "llama", "qwen2"])
@pytest.mark.parametrize("policy", ["auto", "always"])
def test_the_output_bias_is_that_of_the_method(name: str, policy: str, vo_statistics: str) -> None:
    """``b_o + sum_i Wo_i (Wv_i mu + bv_i) - Wo_hat_i (Wv_hat_i mu + bv_hat_i)``."""
    subject = reading_values(name)
    factors = compress(subject, 0.5, joint=("vo",), vo_statistics=vo_statistics, bias_update=policy)
    if factors["output"].bias is None:
        assert policy == "auto"
        assert subject.block.layers["output"].bias is None
        return
    mu = subject.tokens["attention_input"].mean(0)[None]
    assert factors["value"].bias is not None
    np.testing.assert_allclose(
        output_of_values(subject, factors, mu),
        output_of_values(subject, subject.block.layers, mu),
        atol=1e-9,
    )
    geometry = subject.block.attention
    value, output = subject.block.layers["value"], subject.block.layers["output"]

    def through(Wv: Array, bv: Array, Wo: Array) -> Array:
        total = np.zeros(len(Wo))
        for i in range(geometry.heads):
            rows = slice(i // geometry.group * geometry.head_size, None)
            Wv_i, bv_i = Wv[rows][: geometry.head_size], bv[rows][: geometry.head_size]
            Wo_i = Wo[:, i * geometry.head_size : (i + 1) * geometry.head_size]
            total += Wo_i @ (Wv_i @ mu[0] + bv_i)
        return total

    bv = np.zeros(len(value.weight)) if value.bias is None else array(value.bias)
    bo = np.zeros(len(output.weight)) if output.bias is None else array(output.bias)
    wanted = (
        bo
        + through(array(value.weight), bv, array(output.weight))
        - through(
            array(factors["value"].dense()),
            array(factors["value"].bias),
            array(factors["output"].dense()),
        )
    )
    np.testing.assert_allclose(array(factors["output"].bias), wanted, atol=1e-9)


@pytest.mark.parametrize("name", ["opt", "llama"])
@pytest.mark.parametrize("keep", [0.8, 0.5])
def test_stored_value_and_output_reach_the_loss_of_partial_tucker(name: str, keep: float) -> None:
    subject = reading_values(name, biased=())
    factors = compress(
        subject, keep, joint=("vo",), vo_statistics="input", iterations=200, damping=0.01
    )
    C = array(subject.statistics.moments["attention_input"].second)
    P = symmetric_root(damped(C, 0.01))
    geometry = subject.block.attention

    def maps(Wv: Array, Wo: Array) -> Array:
        O = heads(Wo.T.copy(), geometry.heads).transpose(0, 2, 1)  # noqa: E741
        return O @ np.repeat(heads(Wv @ P, geometry.kv_heads), geometry.group, axis=0)

    layers = subject.block.layers
    G = maps(array(layers["value"].weight), array(layers["output"].weight))
    hat = maps(array(factors["value"].dense()), array(factors["output"].dense()))
    found = squared(G - hat)
    ranks = [factors["output"].rank, factors["value"].rank]

    def tucker(init: Any) -> float:
        (core, _), _ = partial_tucker(G, rank=ranks, modes=[1, 2], n_iter_max=300, tol=0, init=init)
        return squared(G) - squared(core)

    assert found <= tucker("svd") * (1 + 1e-7)
    bases = [
        np.linalg.svd(np.concatenate(list(side)).T, full_matrices=False)[0][:, :rank]
        for side, rank in ((hat.transpose(0, 2, 1), ranks[0]), (hat, ranks[1]))
    ]
    core = bases[0].T @ G @ bases[1]
    assert found == pytest.approx(tucker((core, bases)), rel=1e-7)


@pytest.mark.parametrize("name", ["opt", "llama", "qwen2"])
def test_output_statistics_give_the_top_eigenvectors_of_what_is_read(name: str) -> None:
    subject = sample(name)
    factors = compress(
        subject, 0.5, joint=("vo",), vo_statistics="output", damping=0.01, bias_update="never"
    )
    Wo = array(subject.block.layers["output"].weight)
    Co = damped(array(subject.statistics.moments["attention_output"].second), 0.01)
    U = np.linalg.eigh(Wo @ Co @ Wo.T)[1][:, ::-1][:, : factors["output"].rank]
    np.testing.assert_allclose(array(factors["output"].dense()), U @ U.T @ Wo, atol=1e-8)
    C = damped(array(subject.statistics.moments["attention_input"].second), 0.01)
    P = symmetric_root(C)
    Wv = array(subject.block.layers["value"].weight)
    geometry = subject.block.attention
    moment = np.zeros((len(C), len(C)))
    for i in range(geometry.heads):
        j = i // geometry.group
        O_i = Wo[:, i * geometry.head_size : (i + 1) * geometry.head_size]
        V_i = Wv[j * geometry.head_size : (j + 1) * geometry.head_size] @ P
        moment += V_i.T @ O_i.T @ U @ U.T @ O_i @ V_i
    A = np.linalg.eigh(moment)[1][:, ::-1][:, : factors["value"].rank]
    wanted = Wv @ P @ A @ A.T @ np.linalg.inv(P)
    np.testing.assert_allclose(array(factors["value"].dense()), wanted, atol=1e-7)


def test_joint_value_and_output_beat_local_ones_on_the_values_they_map() -> None:
    """Same output ranks and statistics; the error of ``sum_i Wo_i Wv_i x`` per head."""
    subject = reading_values("llama")
    C = array(subject.statistics.moments["attention_input"].second)
    P = np.linalg.cholesky(C)
    geometry = subject.block.attention

    def maps(layers: Any) -> Array:
        Wv, Wo = (
            array(layers[role].dense() if isinstance(layers[role], Factor) else layers[role].weight)
            for role in ("value", "output")
        )
        O = heads(Wo.T.copy(), geometry.heads).transpose(0, 2, 1)  # noqa: E741
        return O @ np.repeat(heads(Wv @ P, geometry.kv_heads), geometry.group, axis=0)

    dense = maps(subject.block.layers)
    joint = compress(subject, 0.5, joint=("vo",), vo_statistics="input", damping=0, iterations=50)
    local = compress(subject, 0.5, joint=(), damping=0)
    assert squared(dense - maps(joint)) < squared(dense - maps(local))


def test_options_select_the_pairs_that_are_joint() -> None:
    subject = sample("opt")
    local = compress(subject, 0.6, joint=())
    changed = {
        pairs: {
            role
            for role, factor in compress(subject, 0.6, joint=pairs).items()
            if not torch.equal(factor.dense(), local[role].dense())
        }
        for pairs in (("qk",), ("vo",), ("ud",))
    }
    assert changed[("qk",)] == {"query", "key"}
    assert "value" in changed[("vo",)]
    assert changed[("vo",)] <= {"value", "output"}
    assert "down" in changed[("ud",)]
    assert changed[("ud",)] <= {"up", "down"}


def test_only_the_joint_mlp_asks_for_tokens() -> None:
    assert plugin.needs_mlp_tokens(Config())
    assert not plugin.needs_mlp_tokens(Config(joint=("qk", "vo")))


def test_value_bias_that_no_output_bias_absorbs_enters_the_output_basis() -> None:
    """Value with bias, output without: the mean value's error is part of the loss."""
    subject = reading_values("opt", biased=("value",))
    with_mean = compress(subject, 0.4, joint=("vo",), vo_statistics="input", iterations=30)
    assert with_mean["output"].bias is None
    layers = dict(subject.block.layers)
    assert layers["value"].bias is not None
    shifted = layers["value"].bias + 100 * tensor(np.ones(len(layers["value"].weight)))
    layers["value"] = LinearWeights(layers["value"].weight, shifted)
    far = replace(subject, block=replace(subject.block, layers=layers))
    factors = compress(far, 0.4, joint=("vo",), vo_statistics="input", iterations=30)
    X = subject.tokens["attention_input"]
    error = output_of_values(far, factors, X) - output_of_values(far, layers, X)
    blind = output_of_values(far, {**factors, "output": with_mean["output"]}, X)
    assert squared(error) < squared(blind - output_of_values(far, layers, X))
