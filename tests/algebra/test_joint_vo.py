"""Joint value and output against an independent Tucker routine and explicit sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorly.decomposition import partial_tucker

from harness.algebra.joint_vo import joint_value_output, value_basis
from tests.helpers.oracles import (
    Array,
    array,
    gaussian,
    moment,
    perturbed_basis,
    properties,
    squared,
    symmetric_root,
    tail,
    tensor,
)

Heads = tuple[Array, Array, Array]


def heads(
    seed: int, count: int = 4, kv: int = 4, size: int = 5, width: int = 12, *, means: bool = False
) -> Heads:
    P = symmetric_root(moment(seed, width, span=2))
    return (
        gaussian(seed + 1, count, width, size),
        gaussian(seed + 2, kv, size, width) @ P,
        gaussian(seed + 3, kv, size) * float(means),
    )


def solve(subject: Heads, value_rank: int, output_rank: int, iterations: int = 4):
    O, V, mean = map(tensor, subject)  # noqa: E741
    value, output, losses = joint_value_output(O, V, mean, (value_rank, output_rank), iterations)
    return array(value), array(output), losses


def loss(subject: Heads, value: Array, output: Array) -> float:
    """``sum_i`` over query heads of the map's error and of the mean value's, written out."""
    O, V, mean = subject  # noqa: E741
    total = 0.0
    for i, head in enumerate(O):
        j = i // (len(O) // len(V))
        G, still = head @ V[j], head @ mean[j]
        total += squared(G - output @ output.T @ G @ value.T @ value)
        total += squared(still - output @ output.T @ still)
    return total


def whole(subject: Heads) -> float:
    width = subject[1].shape[2]
    return loss(subject, np.zeros((1, width)), np.zeros((width, 1)))


VARIANTS = {
    "plain": heads(10),
    "grouped": heads(20, count=6, kv=2),
    "one value head": heads(30, count=4, kv=1),
    "means": heads(40, means=True),
    "grouped with means": heads(50, count=6, kv=3, means=True),
    "single": (np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.zeros((1, 1))),
}


def ranks(subject: Heads) -> list[tuple[int, int]]:
    O, V, _ = subject  # noqa: E741
    most_v = min(V.shape[0] * V.shape[1], V.shape[2])
    most_o = min(O.shape[0] * O.shape[2], O.shape[1])
    return sorted({(1, 1), (most_v // 2 or 1, most_o // 2 or 1), (most_v, most_o)})


@pytest.mark.parametrize("name", VARIANTS)
def test_reported_losses_are_true_and_never_rise(name: str) -> None:
    subject = VARIANTS[name]
    scale = whole(subject)
    for value_rank, output_rank in ranks(subject):
        value, output, losses = solve(subject, value_rank, output_rank, 12)
        np.testing.assert_allclose(value @ value.T, np.eye(value_rank), atol=1e-10)
        np.testing.assert_allclose(output.T @ output, np.eye(output_rank), atol=1e-10)
        assert losses[-1] == pytest.approx(loss(subject, value, output), abs=1e-11 * scale)
        assert len(losses) == 13
        assert np.diff(losses).max() <= 1e-12 * scale


@pytest.mark.parametrize("name", VARIANTS)
def test_full_rank_is_exact(name: str) -> None:
    subject = VARIANTS[name]
    value, output, losses = solve(subject, *ranks(subject)[-1])
    assert abs(losses[-1]) <= 1e-11 * whole(subject)
    O, V, _ = subject  # noqa: E741
    np.testing.assert_allclose(V @ value.T @ value, V, atol=1e-9)
    np.testing.assert_allclose(output @ output.T @ O, O, atol=1e-9)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_better_bases_nearby(name: str) -> None:
    subject = VARIANTS[name]
    for value_rank, output_rank in ranks(subject):
        value, output, losses = solve(subject, value_rank, output_rank, 100)
        for trial in range(15):
            size = 10.0 ** -(trial % 5)
            moved = loss(
                subject,
                perturbed_basis(value, size * (trial % 3 != 0), trial),
                perturbed_basis(output.T, size * (trial % 3 != 1), trial + 1).T,
            )
            assert moved >= losses[-1] - 1e-10 * whole(subject)


@pytest.mark.parametrize(("value_rank", "output_rank"), [(2, 2), (5, 5), (3, 8), (9, 4)])
@pytest.mark.parametrize("name", ["plain", "grouped"])
def test_equals_partial_tucker(name: str, value_rank: int, output_rank: int) -> None:
    O, V, _ = subject = VARIANTS[name]  # noqa: E741
    G = O @ np.repeat(V, len(O) // len(V), axis=0)
    (core, _), _ = partial_tucker(
        G, rank=[output_rank, value_rank], modes=[1, 2], n_iter_max=300, tol=0, init="svd"
    )
    found = solve(subject, value_rank, output_rank, 300)[2][-1]
    assert found == pytest.approx(squared(G) - squared(core), rel=1e-8)


@properties
@given(
    seed=st.integers(0, 10_000),
    kv=st.integers(1, 3),
    group=st.integers(1, 3),
    width=st.integers(2, 14),
    means=st.booleans(),
    share=st.floats(0.05, 1),
)
def test_losses_are_true_and_never_rise_for_any_geometry(
    seed: int, kv: int, group: int, width: int, means: bool, share: float
) -> None:
    subject = heads(seed, kv * group, kv, 4, width, means=means)
    value_rank = max(1, int(share * min(width, 4 * kv)))
    output_rank = max(1, int(share * min(width, 4 * kv * group)))
    value, output, losses = solve(subject, value_rank, output_rank)
    scale = whole(subject)
    assert losses[-1] == pytest.approx(loss(subject, value, output), abs=1e-11 * scale)
    assert np.diff(losses).max() <= 1e-12 * scale


def test_the_mean_term_keeps_what_no_bias_will_absorb() -> None:
    with_means = VARIANTS["means"]
    O, V, mean = with_means  # noqa: E741
    value, output, _ = solve((O, V, 0 * mean), 5, 5, 50)
    blind = loss(with_means, value, output)
    assert solve(with_means, 5, 5, 50)[2][-1] < blind


@pytest.mark.parametrize("kv", [4, 2, 1])
def test_value_basis_is_optimal_for_a_given_output_basis(kv: int) -> None:
    O, V, mean = subject = heads(60, 4, kv)  # noqa: E741
    Bo = np.linalg.qr(gaussian(61, 12, 5))[0]
    seen = np.concatenate([Bo.T @ O[i] @ V[i * kv // 4] for i in range(4)])
    for rank in (1, 3, min(5 * kv, 12)):
        basis = array(value_basis(tensor(np.einsum("dr,hds->hrs", Bo, O)), tensor(V), rank))
        rest = squared(seen - seen @ basis.T @ basis)
        assert rest == pytest.approx(tail(seen, rank), rel=1e-9, abs=1e-10)
        for trial in range(10):
            other = perturbed_basis(basis, 0.1, trial)
            assert loss(subject, other, Bo) >= loss(subject, basis, Bo) - 1e-9
    assert not mean.any()
