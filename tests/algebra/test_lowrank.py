"""Local compression against truncated SVD, and regression against stacked least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.algebra import preconditioners
from harness.algebra.lowrank import (
    Product,
    best_product,
    canonical,
    quadratic_loss,
    reduced_rank_regression,
)
from harness.algebra.preconditioners import Preconditioner
from harness.algebra.spectral import leading_rows
from tests.helpers.oracles import (
    SHAPES,
    Array,
    array,
    assert_loss,
    damped,
    gaussian,
    low_rank,
    moment,
    properties,
    rotation,
    squared,
    symmetric_root,
    tail,
    tensor,
    truncated,
)

NAMES = ["identity", "hessian", "l1", "l2", "cov", "rootcov"]


def pair(name: str, C: Array, damping: float = 0.01) -> tuple[Preconditioner, Array]:
    """Our preconditioner and ``P`` by brute force, for tokens of second moment ``C``."""
    magnitude = np.sqrt(np.diag(C)) * 0.8
    total = damped(C, damping)
    if name == "identity":
        return preconditioners.identity(len(C), tensor(C)), np.eye(len(C))
    if name == "hessian":
        P = np.diag(np.diag(np.linalg.inv(total)) ** -0.5)
        return preconditioners.hessian(tensor(C), damping), P
    if name == "l1":
        return preconditioners.l1(tensor(magnitude), 0.5), np.diag(magnitude**0.5)
    if name == "l2":
        return preconditioners.l2(tensor(C)), np.diag(np.diag(C) ** 0.5)
    if name == "cov":
        return preconditioners.covariance(tensor(C), damping), total
    return preconditioners.root_covariance(tensor(C), damping), symmetric_root(total)


def loss(W: Array, W_hat: Array, P: Array) -> float:
    return squared((W - W_hat) @ P)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_best_product_is_the_truncated_svd_mapped_back(shape: tuple[int, int], name: str) -> None:
    W = gaussian(1, *shape)
    ours, P = pair(name, moment(2, shape[1]))
    for rank in range(1, min(shape) + 1):
        product = best_product(tensor(W), ours, rank)
        assert product.B.shape == (shape[0], rank)
        assert product.A.shape == (rank, shape[1])
        W_hat = array(product.dense())
        assert_loss(loss(W, W_hat, P), tail(W @ P, rank), squared(W @ P))
        wanted = truncated(W @ P, rank) @ np.linalg.inv(P)
        np.testing.assert_allclose(W_hat, wanted, rtol=1e-8, atol=1e-8 * np.abs(W).max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_full_rank_is_exact(shape: tuple[int, int], name: str) -> None:
    W = gaussian(3, *shape)
    ours, _ = pair(name, moment(4, shape[1]))
    np.testing.assert_allclose(
        array(best_product(tensor(W), ours, min(shape)).dense()), W, rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("name", ["identity", "l1", "l2", "cov", "rootcov"])
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (12, 7)])
def test_a_singular_moment_is_harmless(shape: tuple[int, int], name: str) -> None:
    W = gaussian(5, *shape)
    C = moment(6, shape[1], rank=2)
    C[0] = C[:, 0] = 0
    ours, P = pair(name, C, damping=0)
    for rank in range(1, min(shape) + 1):
        product = best_product(tensor(W), ours, rank)
        W_hat = array(product.dense())
        assert np.isfinite(W_hat).all()
        assert np.abs(W_hat).max() <= 10 * np.abs(W).max()
        assert_loss(loss(W, W_hat, P), tail(W @ P, rank), squared(W @ P))
        np.testing.assert_allclose(
            W_hat @ P, truncated(W @ P, rank), atol=3e-7 * np.abs(W @ P).max()
        )


def test_an_all_zero_moment_is_harmless() -> None:
    W = gaussian(7, 5, 4)
    for name in ("l1", "l2", "cov", "rootcov"):
        ours, _ = pair(name, np.zeros((4, 4)), damping=0.01)
        assert bool(torch.isfinite(best_product(tensor(W), ours, 2).dense()).all())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (9, 5)])
def test_a_rank_deficient_weight_is_exact_from_its_own_rank_on(
    shape: tuple[int, int], name: str
) -> None:
    W = low_rank(8, *shape, 2)
    ours, P = pair(name, moment(9, shape[1]))
    for rank in (2, 3, 5):
        W_hat = array(best_product(tensor(W), ours, rank).dense())
        np.testing.assert_allclose(W_hat, W, atol=1e-9 * np.abs(W).max())
    W_hat = array(best_product(tensor(W), ours, 1).dense())
    assert_loss(loss(W, W_hat, P), tail(W @ P, 1), squared(W @ P))


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_zero_weights_stay_zero(shape: tuple[int, int]) -> None:
    ours, _ = pair("rootcov", moment(10, shape[1]))
    assert not best_product(tensor(np.zeros(shape)), ours, 2).dense().any()


@pytest.mark.parametrize("shape", SHAPES)
def test_any_square_root_gives_the_same_product(shape: tuple[int, int]) -> None:
    """Identity 1: any square root of the metric serves."""
    W = tensor(gaussian(11, *shape))
    total = damped(moment(12, shape[1]), 0.01)
    roots = [
        np.linalg.cholesky(total),
        symmetric_root(total),
        symmetric_root(total) @ rotation(13, shape[1]),
    ]
    rank = (min(shape) + 1) // 2
    first, *others = [
        array(best_product(W, Preconditioner(tensor(P @ P.T), tensor(P)), rank).dense())
        for P in roots
    ]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_rootcov_is_a_projection_of_the_outputs(shape: tuple[int, int]) -> None:
    """Identity 2: the optimum projects the output side."""
    W = gaussian(14, *shape)
    C = moment(15, shape[1])
    rank = (min(shape) + 1) // 2
    U = np.linalg.eigh(W @ damped(C, 0.01) @ W.T)[1][:, ::-1][:, :rank]
    ours = best_product(tensor(W), preconditioners.root_covariance(tensor(C), 0.01), rank)
    np.testing.assert_allclose(array(ours.dense()), U @ U.T @ W, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_is_the_sum_of_the_discarded_eigenvalues(shape: tuple[int, int]) -> None:
    """Identity 3: the loss is the discarded tail."""
    W = gaussian(16, *shape)
    C = moment(17, shape[1], span=1)
    values = np.linalg.eigvalsh(W @ C @ W.T)[::-1]
    for rank in range(1, min(shape) + 1):
        ours = best_product(tensor(W), preconditioners.root_covariance(tensor(C), 0), rank)
        found = float(quadratic_loss(tensor(W), ours.dense(), tensor(C)))
        assert_loss(found, float(values[rank:].clip(0).sum()), float(values.sum()))


def test_quadratic_loss_is_the_mean_squared_output_error_of_the_tokens() -> None:
    X = gaussian(18, 50, 6)
    W, W_hat = gaussian(19, 4, 6), gaussian(20, 4, 6)
    wanted = squared(X @ (W - W_hat).T) / 50
    found = quadratic_loss(tensor(W), tensor(W_hat), tensor(X.T @ X / 50))
    assert float(found) == pytest.approx(wanted, rel=1e-12)


@properties
@given(
    d_out=st.integers(1, 12),
    d_in=st.integers(1, 12),
    seed=st.integers(0, 1000),
    name=st.sampled_from(NAMES),
    span=st.floats(0, 8),
)
def test_no_rank_is_below_eckart_young_or_beaten_by_another_product(
    d_out: int, d_in: int, seed: int, name: str, span: float
) -> None:
    W = gaussian(seed, d_out, d_in)
    ours, P = pair(name, moment(seed + 1, d_in, span=span))
    scale = squared(W @ P)
    previous = scale
    for rank in range(1, min(d_out, d_in) + 1):
        product = best_product(tensor(W), ours, rank)
        found = loss(W, array(product.dense()), P)
        least = tail(W @ P, rank)
        assert found >= least * (1 - 1e-9) - 1e-12 * scale
        assert_loss(found, least, scale)
        assert found <= previous + 1e-12 * scale
        other = array(product.B) + 1e-3 * gaussian(seed + 2, d_out, rank)
        assert loss(W, other @ array(product.A), P) >= found - 1e-12 * scale
        previous = found


@properties
@given(
    seed=st.integers(0, 1000),
    size=st.integers(2, 9),
    scale=st.floats(1e-3, 1e3),
)
def test_the_optimum_follows_rotations_and_units_of_the_input(
    seed: int, size: int, scale: float
) -> None:
    W, C = gaussian(seed, 5, size), moment(seed + 1, size)
    Q = scale * rotation(seed + 2, size)
    rank = min(5, size) // 2 + 1
    plain = best_product(tensor(W), preconditioners.root_covariance(tensor(C), 0.01), rank)
    turned = best_product(
        tensor(W @ Q.T), preconditioners.root_covariance(tensor(Q @ C @ Q.T), 0.01), rank
    )
    np.testing.assert_allclose(
        array(turned.dense()), array(plain.dense()) @ Q.T, rtol=1e-7, atol=1e-8 * scale
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_canonical_pairs_are_orthogonal_and_change_nothing(
    shape: tuple[int, int], name: str
) -> None:
    ours, P = pair(name, moment(21, shape[1]))
    rank = (min(shape) + 1) // 2
    direct = best_product(tensor(gaussian(22, *shape)), ours, rank)
    mixing = gaussian(23, rank, rank) + 3 * np.eye(rank)
    mixed = Product(
        tensor(array(direct.B) @ mixing), tensor(np.linalg.inv(mixing) @ array(direct.A))
    )
    for product in (direct, canonical(mixed, ours)):
        B, A = array(product.B), array(product.A)
        assert product.singular is not None
        np.testing.assert_allclose(B.T @ B, np.eye(rank), atol=1e-10)
        gram = A @ P @ P.T @ A.T
        singular = np.diag(array(product.singular) ** 2)
        np.testing.assert_allclose(gram, singular, atol=1e-9 * singular.max())
        np.testing.assert_allclose(B @ A, array(direct.dense()), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (5, 5), (1, 4), (4, 1)])
def test_leading_rows_are_the_right_singular_vectors(shape: tuple[int, int]) -> None:
    Y = gaussian(24, *shape)
    for rank in range(1, min(shape) + 1):
        V, singular = leading_rows(tensor(Y), rank)
        np.testing.assert_allclose(array(V @ V.T), np.eye(rank), atol=1e-12)
        assert_loss(squared(Y - Y @ array(V.T @ V)), tail(Y, rank), squared(Y))
        np.testing.assert_allclose(array(singular), np.linalg.svd(Y, compute_uv=False), rtol=1e-9)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_leading_rows_beyond_the_rank_of_the_matrix_are_still_orthonormal(
    shape: tuple[int, int],
) -> None:
    V, singular = leading_rows(tensor(low_rank(25, *shape, 2)), 4)
    np.testing.assert_allclose(array(V @ V.T), np.eye(4), atol=1e-12)
    assert float(singular[2:].max()) < 1e-6 * float(singular[0])


# Reduced-rank regression -------------------------------------------------------------------------

TOKENS = 60


def drifted_case(seed: int, d_out: int, d_in: int) -> tuple[Array, Array, Array]:
    """Tokens ``X_hat: [n, d_in]``, targets ``Y: [n, d_out]`` of the undrifted ones, weight."""
    X = gaussian(seed, TOKENS, d_in) @ symmetric_root(moment(seed + 1, d_in, span=1))
    X_hat = X + 0.3 * np.roll(X, 1, axis=1) + 0.05 * gaussian(seed + 2, TOKENS, d_in)
    W = gaussian(seed + 3, d_out, d_in)
    return X_hat, X @ W.T, W


def stacked(X_hat: Array, Y: Array, W: Array, damping: float) -> tuple[Array, Array]:
    """The ridge as rows of data: tokens along each axis whose targets are those of ``W``."""
    weight = np.sqrt(TOKENS * damping * np.mean(X_hat**2, axis=0).mean())
    d_in = X_hat.shape[1]
    return np.vstack([X_hat, weight * np.eye(d_in)]), np.vstack([Y, weight * W.T])


def regressed(X_hat: Array, Y: Array, W: Array, damping: float, rank: int) -> Product:
    cross, seen = Y.T @ X_hat / TOKENS, X_hat.T @ X_hat / TOKENS
    return reduced_rank_regression(tensor(cross), tensor(seen), tensor(W), damping, rank)[0]


@pytest.mark.parametrize("damping", [0, 0.01, 1.0])
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5), (5, 1)])
def test_regression_is_least_squares_then_svd_of_the_fit(
    shape: tuple[int, int], damping: float
) -> None:
    X_hat, Y, W = drifted_case(30, *shape)
    inputs, targets = stacked(X_hat, Y, W, damping)
    solution = np.linalg.lstsq(inputs, targets, rcond=None)[0].T
    fitted = inputs @ solution.T
    for rank in range(1, min(shape) + 1):
        V = np.linalg.svd(fitted, full_matrices=False)[2][:rank]
        ours = array(regressed(X_hat, Y, W, damping, rank).dense())
        np.testing.assert_allclose(ours, V.T @ V @ solution, rtol=1e-7, atol=1e-8)
        assert squared(targets - inputs @ ours.T) == pytest.approx(
            squared(targets - inputs @ solution.T @ V.T @ V), rel=1e-9, abs=1e-9
        )


@pytest.mark.parametrize("damping", [0, 0.01])
def test_no_better_regression_nearby(damping: float) -> None:
    X_hat, Y, W = drifted_case(40, 5, 7)
    inputs, targets = stacked(X_hat, Y, W, damping)
    product = regressed(X_hat, Y, W, damping, 2)
    B, A = array(product.B), array(product.A)
    found = squared(targets - inputs @ (B @ A).T)
    for trial in range(200):
        size = 10.0 ** -(trial % 6)
        moved = (B + size * gaussian(trial, *B.shape)) @ (A + size * gaussian(trial + 1, *A.shape))
        assert squared(targets - inputs @ moved.T) >= found - 1e-12 * squared(targets)


@pytest.mark.parametrize("damping", [0, 1e-3, 0.01, 1.0, 100.0])
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_regression_without_drift_is_the_damped_local_fit(
    shape: tuple[int, int], damping: float
) -> None:
    X_hat, _, W = drifted_case(50, *shape)
    C = tensor(X_hat.T @ X_hat / TOKENS)
    local = best_product(tensor(W), preconditioners.root_covariance(C, damping), 3)
    ours = regressed(X_hat, X_hat @ W.T, W, damping, 3)
    np.testing.assert_allclose(
        array(ours.dense()), array(local.dense()), rtol=1e-9, atol=1e-10 * np.abs(W).max()
    )


@pytest.mark.parametrize("damping", [0, 0.01])
def test_regression_on_dead_and_dependent_inputs_stays_near_the_weight(damping: float) -> None:
    X_hat, Y, W = drifted_case(60, 4, 8)
    X_hat[:, 2] = 0
    X_hat[:, 5] = X_hat[:, 6]
    ours = array(regressed(X_hat, Y, W, damping, 4).dense())
    solution = W + np.linalg.lstsq(X_hat, Y - X_hat @ W.T, rcond=1e-10)[0].T
    least = squared(Y - X_hat @ solution.T)
    assert np.abs(ours).max() < 10 * np.abs(W).max()
    assert squared(Y - X_hat @ ours.T) <= least * (1 + 1e-9 if damping == 0 else 1.5)
    if damping == 0:
        np.testing.assert_allclose(ours, solution, atol=1e-6)


def test_regression_on_no_signal_at_all_returns_the_weight() -> None:
    W = gaussian(70, 3, 5)
    nothing = np.zeros((TOKENS, 5))
    ours = regressed(nothing, np.zeros((TOKENS, 3)), W, 0.01, 3)
    np.testing.assert_allclose(array(ours.dense()), W, atol=1e-12)


def awkward(name: str, d_out: int, d_in: int) -> tuple[Array, Array]:
    """A weight and a metric with ties at every cut, tiny, of many decades, singular or nothing."""
    W, C = gaussian(30, d_out, d_in), moment(31, d_in)
    inner = min(d_out, d_in)
    left, right = rotation(32, d_out)[:, :inner], rotation(33, d_in)[:, :inner]
    return {
        "tied": (left @ right.T, np.eye(d_in)),
        "tied in pairs": ((left * (2.0 ** -(np.arange(inner) // 2))) @ right.T, np.eye(d_in)),
        "tiny": (1e-60 * W, 1e-60 * C),
        "graded": ((left * np.logspace(0, -5, inner)) @ right.T, np.eye(d_in)),
        "singular metric": (W, moment(31, d_in, rank=max(d_in // 2, 1))),
        "nearly singular metric": (W, moment(31, d_in, span=11)),
        "deficient weight": (low_rank(34, d_out, d_in, max(inner // 2, 1)), C),
        "no weight": (0 * W, C),
        "no input": (W, 0 * C),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "tied",
        "tied in pairs",
        "tiny",
        "graded",
        "singular metric",
        "nearly singular metric",
        "deficient weight",
        "no weight",
        "no input",
    ],
)
@pytest.mark.parametrize("shape", [(24, 24), (12, 40), (40, 12), (3, 2), (1, 6), (6, 1)])
def test_awkward_layers_lose_what_eckart_and_young_allow(shape: tuple[int, int], name: str) -> None:
    W, C = awkward(name, *shape)
    P = symmetric_root(C)
    for rank in range(1, min(shape) + 1):
        ours = best_product(tensor(W), preconditioners.root_covariance(tensor(C), 0), rank)
        found = squared((W - array(ours.dense())) @ P)
        assert_loss(found, tail(W @ P, rank), squared(W @ P))
        pair = canonical(ours, preconditioners.root_covariance(tensor(C), 0))
        kept = squared((W - array(pair.dense())) @ P)
        assert_loss(kept, tail(W @ P, rank), squared(W @ P))
