"""LatentLLM's joint pairs, end to end: stored factors against Tucker and attention maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tensorly.decomposition import partial_tucker

from compressors.joint.config import Config
from compressors.latentllm import plugin
from harness.algebra import joint_qk
from harness.algebra.rotary import rotations
from harness.layers.factors import CompressedLinear
from harness.layers.roles import Role, Site
from harness.layers.weights import BlockWeights, LinearWeights
from harness.statistics.block_statistics import BlockStatistics
from tests.helpers.blocks import Sample, claimed, moments_of, sample
from tests.helpers.oracles import Array, array, damped, squared, symmetric_root, tensor


def compress(subject: Sample, keep: float, **options: Any) -> dict[Role, CompressedLinear]:
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


def as_layer(layer: CompressedLinear | LinearWeights) -> tuple[Array, Array]:
    """Weight and bias; zeros where there is none."""
    own = claimed(layer) if isinstance(layer, CompressedLinear) else layer
    return array(own.weight), np.zeros(len(own.weight)) if own.bias is None else array(own.bias)


def as_arrays(role_layers: Any) -> dict[str, tuple[Array, Array]]:
    return {role: as_layer(role_layers[role]) for role in ("query", "key")}


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


@pytest.mark.filterwarnings("ignore:Trying to compute SVD")
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


def spread(subject: Sample, site: Site, role: Role, policy: str) -> Array:
    """Moment of the tokens ``role`` reads, about their mean where its bias takes that."""
    X = subject.tokens[site]
    biased = subject.block.layers[role].bias is not None
    X = X - X.mean(0) if policy == "always" or (policy == "auto" and biased) else X
    return X.T @ X / len(X)


def alternated(Q: Array, K: Array, n: Array, m: Array, ranks: tuple[int, int]) -> float:
    """The loss that plain alternation reaches, by explicit sums over query heads."""

    def top(S: Array, rank: int) -> Array:
        return np.linalg.eigh(S)[1][:, ::-1][:, :rank]

    width = Q.shape[2]
    A = np.eye(width)
    for _ in range(200):
        M = K @ A @ A.T @ K.transpose(0, 2, 1) + m[:, :, None] * m[:, None]
        into_q = top((Q.transpose(0, 2, 1) @ M @ Q).sum(0), ranks[0])
        N = Q @ into_q @ into_q.T @ Q.transpose(0, 2, 1) + n[:, :, None] * n[:, None]
        A = top((K.transpose(0, 2, 1) @ N @ K).sum(0), ranks[1])
    into_q, into_k = into_q @ into_q.T, A @ A.T
    G = Q.transpose(0, 2, 1) @ K
    from_key, from_query = (
        np.einsum("has,ha->hs", Q, m),
        np.einsum("has,ha->hs", K, n),
    )
    return (
        squared(G - into_q @ G @ into_k)
        + squared(from_key - from_key @ into_q)
        + squared(from_query - from_query @ into_k)
    )


@pytest.mark.parametrize(
    ("name", "policy"),
    [("opt", "auto"), ("qwen2", "auto"), ("llama", "always"), ("llama", "auto")],
)
def test_the_true_error_of_attention_maps_is_what_alternation_reaches(
    name: str, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored factors and biases on explicit tokens, against the explicit sums."""
    monkeypatch.setattr(joint_qk, "SETTLED", -1.0)
    subject = unrotated(name)
    factors = compress(subject, 0.5, joint=("qk",), damping=0, bias_update=policy, iterations=200)
    ones = head_scales(subject)
    dense = as_arrays(subject.block.layers)
    error = squared(
        attention_maps(subject, dense, ones) - attention_maps(subject, as_arrays(factors), ones)
    )
    geometry = subject.block.attention
    X = subject.tokens["attention_input"]
    P = np.linalg.cholesky(spread(subject, "attention_input", "query", policy))
    centred = float(policy == "always" or subject.block.layers["query"].bias is not None)
    Q, K, n, m = (
        heads(rows, count)
        for rows, count in (
            (dense["query"][0] @ P, geometry.heads),
            (dense["key"][0] @ P, geometry.kv_heads),
            (centred * (dense["query"][0] @ X.mean(0) + dense["query"][1]), geometry.heads),
            (centred * (dense["key"][0] @ X.mean(0) + dense["key"][1]), geometry.kv_heads),
        )
    )
    K, m = np.repeat(K, geometry.group, axis=0), np.repeat(m, geometry.group, axis=0)
    wanted = alternated(Q, K, n, m, (factors["query"].rank, factors["key"].rank))
    assert error == pytest.approx(wanted * len(X) ** 2, rel=1e-7)


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

    def run(layer: CompressedLinear | LinearWeights, x: Array) -> Array:
        W, b = as_layer(layer)
        return x @ W.T + b

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

    bv, bo = as_layer(value)[1], as_layer(output)[1]
    wanted = (
        bo
        + through(array(value.weight), bv, array(output.weight))
        - through(
            *as_layer(factors["value"]),
            as_layer(factors["output"])[0],
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
    hat = maps(as_layer(factors["value"])[0], as_layer(factors["output"])[0])
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


@pytest.mark.parametrize("policy", ["auto", "always", "never"])
@pytest.mark.parametrize("name", ["opt", "llama", "qwen2"])
def test_output_statistics_give_the_top_eigenvectors_of_what_is_read(
    name: str, policy: str
) -> None:
    """Centred where the layer's bias takes the mean."""
    subject = sample(name)
    factors = compress(
        subject, 0.5, joint=("vo",), vo_statistics="output", damping=0.01, bias_update=policy
    )
    Wo = array(subject.block.layers["output"].weight)
    Co = damped(spread(subject, "attention_output", "output", policy), 0.01)
    U = np.linalg.eigh(Wo @ Co @ Wo.T)[1][:, ::-1][:, : factors["output"].rank]
    np.testing.assert_allclose(as_layer(factors["output"])[0], U @ U.T @ Wo, atol=1e-8)
    C = damped(spread(subject, "attention_input", "value", policy), 0.01)
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
    np.testing.assert_allclose(as_layer(factors["value"])[0], wanted, atol=1e-7)


def test_joint_value_and_output_beat_local_ones_on_the_values_they_map() -> None:
    """Same output ranks and statistics; the error of ``sum_i Wo_i Wv_i x`` per head."""
    subject = reading_values("llama")
    C = array(subject.statistics.moments["attention_input"].second)
    P = np.linalg.cholesky(C)
    geometry = subject.block.attention

    def maps(layers: Any) -> Array:
        Wv, Wo = (as_layer(layers[role])[0] for role in ("value", "output"))
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
            if not np.array_equal(as_layer(factor)[0], as_layer(local[role])[0])
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
    options: dict[str, Any] = {"joint": ("vo",), "vo_statistics": "input", "iterations": 30}
    with_mean = compress(subject, 0.4, **options)
    assert with_mean["output"].bias is None
    layers = dict(subject.block.layers)
    assert layers["value"].bias is not None
    shifted = layers["value"].bias + 100 * tensor(np.ones(len(layers["value"].weight)))
    layers["value"] = LinearWeights(layers["value"].weight, shifted)
    far = replace(subject, block=replace(subject.block, layers=layers))
    factors = compress(far, 0.4, **options)
    X = subject.tokens["attention_input"]
    error = output_of_values(far, factors, X) - output_of_values(far, layers, X)
    blind = output_of_values(far, {**factors, "output": with_mean["output"]}, X)
    assert squared(error) < squared(blind - output_of_values(far, layers, X))
