"""Joint query and key against an independent Tucker routine and the attention maps themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensorly.decomposition import partial_tucker

from harness.algebra import joint_qk
from harness.algebra.joint_qk import HeadMaps, JointBases, joint_query_key
from harness.algebra.rotary import Window, rotations
from tests.helpers.oracles import (
    Array,
    array,
    gaussian,
    moment,
    perturbed_basis,
    properties,
    squared,
    symmetric_root,
    tensor,
)

FREQUENCIES = np.array([1.0, 0.31, 0.02])


@dataclass
class Case:
    """Heads of a small attention layer, whitened by ``P``."""

    Q: Array
    K: Array
    query_mean: Array
    key_mean: Array
    frequencies: Array | None = None
    window: Window = 1

    def maps(self) -> HeadMaps:
        return HeadMaps(
            Q=tensor(self.Q),
            K=tensor(self.K),
            query_mean=tensor(self.query_mean),
            key_mean=tensor(self.key_mean),
            frequencies=None if self.frequencies is None else tensor(self.frequencies),
            window=self.window,
        )

    def solve(self, query_rank: int, key_rank: int, iterations: int = 4) -> JointBases:
        return joint_query_key(self.maps(), query_rank, key_rank, iterations)

    def loss(self, query: Array, key: Array) -> float:
        """Every ``G_i,t = Q_i^T R_-t K_i`` and every mean row, written out."""
        in_query, in_key = query.T @ query, key.T @ key
        turns = np.eye(self.Q.shape[1])[None]
        if self.frequencies is not None and self.window != 1:
            assert isinstance(self.window, int)
            turns = array(rotations(tensor(self.frequencies), -torch.arange(self.window)))
        total = 0.0
        for i, Q in enumerate(self.Q):
            j = i // (len(self.Q) // len(self.K))
            G = Q.T @ turns @ self.K[j]
            total += squared(G - in_query @ G @ in_key)
            from_key = Q.T @ turns @ self.key_mean[j][:, None]
            total += squared(from_key - in_query @ from_key)
            from_query = self.K[j].T @ turns.transpose(0, 2, 1) @ self.query_mean[i][:, None]
            total += squared(from_query - in_key @ from_query)
        return total / len(turns)

    def whole(self) -> float:
        empty = np.zeros((1, self.Q.shape[2]))
        return self.loss(empty, empty)


def case(
    seed: int,
    heads: int = 4,
    kv_heads: int = 4,
    size: int = 6,
    width: int = 14,
    *,
    means: bool = False,
    window: Window | None = None,
) -> Case:
    P = symmetric_root(moment(seed, width, span=2))
    return Case(
        Q=gaussian(seed + 1, heads, size, width) @ P,
        K=gaussian(seed + 2, kv_heads, size, width) @ P,
        query_mean=gaussian(seed + 3, heads, size) * float(means),
        key_mean=gaussian(seed + 4, kv_heads, size) * float(means),
        frequencies=None if window is None else FREQUENCIES,
        window=window or 1,
    )


VARIANTS = {
    "plain": case(10),
    "grouped": case(20, heads=6, kv_heads=2),
    "one key head": case(30, heads=5, kv_heads=1),
    "means": case(40, means=True),
    "rotary": case(50, window=10),
    "rotary, grouped, means": case(60, heads=6, kv_heads=2, means=True, window=7),
    "window of one": case(70, window=1),
    "wide heads": case(80, heads=4, kv_heads=4, size=6, width=5, means=True, window=3),
    "single": Case(*(np.ones((1, 1, 1)),) * 2, *(np.zeros((1, 1)),) * 2),
}


def ranks(subject: Case) -> list[tuple[int, int]]:
    most_q = min(subject.Q.shape[0] * subject.Q.shape[1], subject.Q.shape[2])
    most_k = min(subject.K.shape[0] * subject.K.shape[1], subject.K.shape[2])
    return sorted({(1, 1), (most_q // 2 or 1, most_k // 2 or 1), (most_q, 1), (most_q, most_k)})


@pytest.mark.parametrize("name", VARIANTS)
def test_reported_losses_are_those_of_the_written_out_maps(name: str) -> None:
    subject = VARIANTS[name]
    whole = subject.whole()
    for query_rank, key_rank in ranks(subject):
        bases = subject.solve(query_rank, key_rank)
        query, key = array(bases.query), array(bases.key)
        np.testing.assert_allclose(query @ query.T, np.eye(query_rank), atol=1e-10)
        np.testing.assert_allclose(key @ key.T, np.eye(key_rank), atol=1e-10)
        assert bases.losses[-1] == pytest.approx(subject.loss(query, key), abs=1e-11 * whole)


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_never_rise(name: str) -> None:
    subject = VARIANTS[name]
    for query_rank, key_rank in ranks(subject):
        losses = subject.solve(query_rank, key_rank, iterations=12).losses
        assert np.diff(losses).max(initial=0) <= 1e-12 * subject.whole()


@pytest.mark.parametrize("name", VARIANTS)
def test_full_rank_is_exact(name: str) -> None:
    subject = VARIANTS[name]
    query_rank, key_rank = ranks(subject)[-1]
    bases = subject.solve(query_rank, key_rank)
    assert abs(bases.losses[-1]) <= 1e-11 * subject.whole()
    for heads, basis in ((subject.Q, array(bases.query)), (subject.K, array(bases.key))):
        np.testing.assert_allclose(heads @ basis.T @ basis, heads, atol=1e-9)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_better_bases_nearby(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_qk, "SETTLED", -1.0)
    subject = VARIANTS[name]
    for query_rank, key_rank in ranks(subject):
        bases = subject.solve(query_rank, key_rank, iterations=100)
        query, key = array(bases.query), array(bases.key)
        for trial in range(15):
            size = 10.0 ** -(trial % 5)
            moved = subject.loss(
                perturbed_basis(query, size * (trial % 3 != 0), trial),
                perturbed_basis(key, size * (trial % 3 != 1), trial + 1),
            )
            assert moved >= bases.losses[-1] - 1e-10 * subject.whole()


@pytest.mark.parametrize(("query_rank", "key_rank"), [(1, 1), (5, 5), (7, 4), (3, 9), (13, 13)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_multi_head_attention_equals_partial_tucker(
    seed: int, query_rank: int, key_rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_qk, "SETTLED", -1.0)
    subject = case(seed * 100)
    G = subject.Q.transpose(0, 2, 1) @ subject.K
    (core, _), _ = partial_tucker(
        G, rank=[query_rank, key_rank], modes=[1, 2], n_iter_max=300, tol=0, init="svd"
    )
    wanted = squared(G) - squared(core)
    found = subject.solve(query_rank, key_rank, iterations=300).losses[-1]
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-11 * squared(G))


@pytest.mark.parametrize(("query_rank", "key_rank"), [(5, 5), (9, 6)])
def test_grouped_attention_equals_partial_tucker_of_the_repeated_keys(
    query_rank: int, key_rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_qk, "SETTLED", -1.0)
    subject = VARIANTS["grouped"]
    G = subject.Q.transpose(0, 2, 1) @ np.repeat(subject.K, 3, axis=0)
    (core, _), _ = partial_tucker(
        G, rank=[query_rank, key_rank], modes=[1, 2], n_iter_max=300, tol=0, init="svd"
    )
    found = subject.solve(query_rank, key_rank, iterations=300).losses[-1]
    assert found == pytest.approx(squared(G) - squared(core), rel=1e-8)


def test_a_few_rounds_come_close_to_the_converged_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_qk, "SETTLED", -1.0)
    subject = VARIANTS["rotary, grouped, means"]
    losses = subject.solve(6, 6, iterations=200).losses
    assert losses[4] <= losses[-1] * 1.02
    assert len(losses) == 201


def test_iterations_stop_once_the_loss_has_settled() -> None:
    assert len(VARIANTS["plain"].solve(6, 6, iterations=10_000).losses) < 500
    assert len(VARIANTS["plain"].solve(6, 6, iterations=0).losses) == 1


@properties
@given(
    seed=st.integers(0, 10_000),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    width=st.integers(2, 16),
    means=st.booleans(),
    window=st.sampled_from([None, 1, 4]),
    share=st.floats(0.05, 1),
)
def test_losses_are_true_and_never_rise_for_any_geometry(
    seed: int,
    kv_heads: int,
    group: int,
    width: int,
    means: bool,
    window: Window | None,
    share: float,
) -> None:
    subject = case(seed, kv_heads * group, kv_heads, 6, width, means=means, window=window)
    query_rank = max(1, int(share * min(width, 6 * kv_heads * group)))
    key_rank = max(1, int(share * min(width, 6 * kv_heads)))
    bases = subject.solve(query_rank, key_rank, iterations=6)
    whole = subject.whole()
    assert np.diff(bases.losses).max(initial=0) <= 1e-12 * whole
    found = subject.loss(array(bases.query), array(bases.key))
    assert bases.losses[-1] == pytest.approx(found, abs=1e-11 * whole)


def test_an_infinite_window_agrees_with_a_long_one() -> None:
    frequencies = np.sqrt([2.0, 3.0, 5.0])
    long, limit = case(90, means=True), case(90, means=True)
    long.frequencies = limit.frequencies = frequencies
    long.window, limit.window = 5000, "all"
    assert limit.solve(6, 6).losses[-1] == pytest.approx(long.solve(6, 6).losses[-1], rel=1e-3)


# Explicit tokens ---------------------------------------------------------------------------------

TOKENS = 40


@dataclass
class Layer:
    """Query and key projections with biases, and the tokens they read."""

    X: Array
    Wq: Array
    bq: Array
    Wk: Array
    bk: Array

    def mean(self) -> Array:
        return self.X.mean(0)

    def covariance(self) -> Array:
        centred = self.X - self.mean()
        return centred.T @ centred / len(self.X)

    def approximated(self, bases: JointBases, P: Array, *, centred: bool) -> Layer:
        """``W_hat = W P A'^T A' P^-1``; biases keep the mean output where ``centred``."""
        inverse = np.linalg.inv(P)
        into_q = P @ array(bases.query).T @ array(bases.query) @ inverse
        into_k = P @ array(bases.key).T @ array(bases.key) @ inverse
        Wq, Wk = self.Wq @ into_q, self.Wk @ into_k
        if not centred:
            return Layer(self.X, Wq, self.bq, Wk, self.bk)
        bq = self.bq + (self.Wq - Wq) @ self.mean()
        bk = self.bk + (self.Wk - Wk) @ self.mean()
        return Layer(self.X, Wq, bq, Wk, bk)

    def attention_maps(self) -> Array:
        """``[h, n, n]``: every query against every key."""
        queries = np.einsum("hij,nj->hni", self.Wq, self.X) + self.bq[:, None]
        keys = np.einsum("hij,nj->hni", self.Wk, self.X) + self.bk[:, None]
        keys = np.repeat(keys, len(queries) // len(keys), axis=0)
        return queries @ keys.transpose(0, 2, 1)

    def case(self, P: Array, *, centred: bool) -> Case:
        on = float(centred)
        return Case(
            self.Wq @ P,
            self.Wk @ P,
            on * (self.Wq @ self.mean() + self.bq),
            on * (self.Wk @ self.mean() + self.bk),
        )


def layer(seed: int, heads: int = 4, kv_heads: int = 2, size: int = 5, width: int = 12) -> Layer:
    X = gaussian(seed, TOKENS, width) @ symmetric_root(moment(seed + 1, width, span=1.5))
    return Layer(
        X=X + 0.5 * gaussian(seed + 2, width),
        Wq=gaussian(seed + 3, heads, size, width),
        bq=gaussian(seed + 4, heads, size),
        Wk=gaussian(seed + 5, kv_heads, size, width),
        bk=gaussian(seed + 6, kv_heads, size),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_loss_with_means_is_the_true_error_of_the_attention_maps(seed: int) -> None:
    """Biases and a mean input: the decoupled loss is exact over all pairs of the tokens."""
    subject = layer(seed * 10)
    P = np.linalg.cholesky(subject.covariance())
    maps = subject.case(P, centred=True)
    true = subject.attention_maps()
    errors = []
    for iterations in (0, 1, 2, 4, 8):
        bases = maps.solve(5, 4, iterations)
        hat = subject.approximated(bases, P, centred=True).attention_maps()
        errors.append(squared(true - hat))
        assert errors[-1] == pytest.approx(bases.losses[-1] * TOKENS**2, rel=1e-9)
    assert np.diff(errors).max() <= 1e-9 * errors[0]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_mean_term_lowers_the_true_error(seed: int) -> None:
    subject = layer(seed * 10)
    true = subject.attention_maps()

    def error(*, centred: bool, mean_term: bool) -> float:
        C = subject.covariance()
        if not centred:
            C = C + np.outer(subject.mean(), subject.mean())
        P = np.linalg.cholesky(C)
        bases = subject.case(P, centred=mean_term).solve(5, 4, 30)
        return squared(true - subject.approximated(bases, P, centred=centred).attention_maps())

    best = error(centred=True, mean_term=True)
    assert best < error(centred=True, mean_term=False)
    assert best < error(centred=False, mean_term=False)


def test_without_biases_and_means_the_loss_is_the_true_error_too() -> None:
    subject = layer(50)
    subject.bq[:], subject.bk[:] = 0, 0
    P = np.linalg.cholesky(subject.X.T @ subject.X / TOKENS)
    bases = subject.case(P, centred=False).solve(5, 4)
    hat = subject.approximated(bases, P, centred=False).attention_maps()
    error = squared(subject.attention_maps() - hat)
    assert error == pytest.approx(bases.losses[-1] * TOKENS**2, rel=1e-9)


def test_rotary_loss_is_the_true_error_of_turned_attention_maps() -> None:
    """Each offset's map, all pairs of tokens, with means; averaged over the window."""
    subject = layer(60, size=6)
    P = np.linalg.cholesky(subject.covariance())
    maps = subject.case(P, centred=True)
    maps.frequencies, maps.window = FREQUENCIES, 6
    bases = maps.solve(6, 5)
    hat = subject.approximated(bases, P, centred=True)
    error = 0.0
    for R in array(rotations(tensor(FREQUENCIES), -torch.arange(6))):
        turned = [
            Layer(part.X, part.Wq, part.bq, R @ part.Wk, part.bk @ R.T) for part in (subject, hat)
        ]
        error += squared(turned[0].attention_maps() - turned[1].attention_maps()) / 6
    assert error == pytest.approx(bases.losses[-1] * TOKENS**2, rel=1e-9)
    blind = subject.case(P, centred=True).solve(6, 5)
    assert maps.loss(array(blind.query), array(blind.key)) > bases.losses[-1]


def test_joint_ranks_beat_separate_ones_on_the_attention_map() -> None:
    subject = layer(70)
    P = np.linalg.cholesky(subject.covariance())
    maps = subject.case(P, centred=True)
    joint = maps.solve(5, 4, 30)
    alone = [
        np.linalg.svd(heads.reshape(-1, heads.shape[2]))[2][:rank]
        for heads, rank in ((maps.Q, 5), (maps.K, 4))
    ]
    assert joint.losses[-1] < maps.loss(*alone)
