"""Every stored form is the same map, and block identity stays safe on bad matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.algebra import preconditioners
from harness.algebra.junction import interpolation_rows
from harness.algebra.lowrank import Product, best_product
from harness.algebra.preconditioners import Preconditioner
from harness.algebra.ranks import Junction, factor_parameters
from harness.layers.factors import InputIdentity, LowRank, OutputIdentity, _BlockIdentity
from harness.layers.junction import join
from tests.helpers.oracles import Array, array, gaussian, low_rank, moment, properties, tensor

PLAIN: list[Junction] = ["left", "right", "symmetric"]
IDENTITY: list[Junction] = ["block-identity", "block-identity-output"]
FORMS = PLAIN + IDENTITY
SHAPES_AND_RANKS = [(6, 6, 3), (4, 9, 2), (9, 4, 3), (9, 4, 4), (4, 9, 4), (5, 5, 5), (1, 5, 1)]


def compressed(d_out: int, d_in: int, rank: int) -> tuple[Product, Preconditioner, Array]:
    C = moment(1, d_in, span=2)
    P = preconditioners.root_covariance(tensor(C), 0.01)
    return best_product(tensor(gaussian(2, d_out, d_in)), P, rank), P, array(P.metric)


def mixed(product: Product) -> Product:
    """The same map from a pair that is not canonical."""
    rank = len(product.A)
    J = tensor(gaussian(3, rank, rank) + 4 * np.eye(rank))
    return Product(product.B @ J, torch.linalg.inv(J) @ product.A)


@pytest.mark.parametrize("junction", FORMS)
@pytest.mark.parametrize(("d_out", "d_in", "rank"), SHAPES_AND_RANKS)
def test_every_form_is_the_same_map_with_the_counted_parameters(
    d_out: int, d_in: int, rank: int, junction: Junction
) -> None:
    product, P, _ = compressed(d_out, d_in, rank)
    bias = tensor(gaussian(4, d_out))
    for pair in (product, mixed(product)):
        factor = join(pair, P, junction, bias)
        np.testing.assert_allclose(
            array(factor.dense()), array(product.dense()), rtol=1e-9, atol=1e-10
        )
        assert factor.rank == rank
        saved = rank * rank if junction in IDENTITY else 0
        assert factor.weight_parameters() == rank * (d_out + d_in) - saved
        assert factor.weight_parameters() == factor_parameters((d_out, d_in), rank, junction)
        assert factor.bias is not None
        np.testing.assert_array_equal(array(factor.bias), array(bias))
        assert join(pair, P, junction, None).bias is None


@pytest.mark.parametrize(("d_out", "d_in", "rank"), SHAPES_AND_RANKS)
def test_left_has_orthonormal_whitened_rows(d_out: int, d_in: int, rank: int) -> None:
    product, P, metric = compressed(d_out, d_in, rank)
    factor = join(mixed(product), P, "left", None)
    assert isinstance(factor, LowRank)
    A, B = array(factor.A), array(factor.B)
    np.testing.assert_allclose(A @ metric @ A.T, np.eye(rank), atol=1e-8)
    gram = B.T @ B
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9 * gram.max())


@pytest.mark.parametrize(("d_out", "d_in", "rank"), SHAPES_AND_RANKS)
def test_right_has_orthonormal_columns(d_out: int, d_in: int, rank: int) -> None:
    product, P, _ = compressed(d_out, d_in, rank)
    factor = join(mixed(product), P, "right", None)
    assert isinstance(factor, LowRank)
    B = array(factor.B)
    np.testing.assert_allclose(B.T @ B, np.eye(rank), atol=1e-9)


@pytest.mark.parametrize(("d_out", "d_in", "rank"), SHAPES_AND_RANKS)
def test_symmetric_splits_the_singular_values_evenly(d_out: int, d_in: int, rank: int) -> None:
    product, P, metric = compressed(d_out, d_in, rank)
    factor = join(mixed(product), P, "symmetric", None)
    assert isinstance(factor, LowRank)
    A, B = array(factor.A), array(factor.B)
    gram_in, gram_out = A @ metric @ A.T, B.T @ B
    np.testing.assert_allclose(gram_in, gram_out, atol=1e-9 * gram_out.max())
    whitened = array(product.dense()) @ np.linalg.cholesky(metric)
    np.testing.assert_allclose(
        np.sort(np.diag(gram_in))[::-1],
        np.linalg.svd(whitened, compute_uv=False)[:rank],
        rtol=1e-8,
    )


@pytest.mark.parametrize(("d_out", "d_in", "rank"), SHAPES_AND_RANKS)
def test_block_identity_really_holds_an_identity(d_out: int, d_in: int, rank: int) -> None:
    product, P, _ = compressed(d_out, d_in, rank)
    W_hat = array(product.dense())
    inputs = join(product, P, "block-identity", None)
    outputs = join(product, P, "block-identity-output", None)
    assert isinstance(inputs, InputIdentity)
    assert isinstance(outputs, OutputIdentity)
    np.testing.assert_allclose(array(inputs.F), W_hat[:, inputs.kept.numpy()], atol=1e-10)
    np.testing.assert_allclose(array(outputs.F), W_hat[outputs.kept.numpy()], atol=1e-10)
    for factor, size in ((inputs, d_in), (outputs, d_out)):
        assert sorted([*factor.kept.tolist(), *factor.rest.tolist()]) == list(range(size))
        assert factor.interpolation_bound() <= 2


@pytest.mark.parametrize("junction", FORMS)
@pytest.mark.parametrize("kind", ["dead inputs", "all dead", "deficient weight", "zero weight"])
def test_forms_agree_and_stay_finite_in_degenerate_cases(junction: Junction, kind: str) -> None:
    C = moment(5, 8, rank=2 if kind == "dead inputs" else 8)
    W = gaussian(6, 6, 8)
    if kind == "all dead":
        C = np.zeros((8, 8))
    elif kind == "deficient weight":
        W = low_rank(6, 6, 8, 2)
    elif kind == "zero weight":
        W = np.zeros((6, 8))
    P = preconditioners.root_covariance(tensor(C), 0)
    product = best_product(tensor(W), P, 4)
    for pair in (product, mixed(product)):
        factor = join(pair, P, junction, None)
        for parameter in factor.parameters():
            assert bool(torch.isfinite(parameter.half()).all())
        np.testing.assert_allclose(array(factor.dense()), array(product.dense()), atol=1e-6)


# Interpolation -----------------------------------------------------------------------------------


def kahan(rows: int, columns: int, angle: float = 1.2) -> Array:
    sine, cosine = math.sin(angle), math.cos(angle)
    triangle = np.eye(rows) - cosine * np.triu(np.ones((rows, rows)), 1)
    return (np.diag(sine ** np.arange(rows)) @ triangle).T[:, :columns]


def wilkinson(rows: int, columns: int) -> Array:
    """Partial pivoting meets its worst case: coefficients grow like ``2^columns``."""
    noise = 1 - 1e-3 * generator_uniform(7, rows, columns)
    lower = np.eye(rows, columns) - np.tril(np.ones((rows, columns)) * noise, -1)
    mix = np.eye(columns) + 0.02 * np.triu(gaussian(8, columns, columns), 1)
    return lower @ mix


def generator_uniform(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).uniform(size=shape)


NASTY = {
    "rows nearly parallel": 1 + 1e-8 * gaussian(10, 80, 30),
    "kahan": kahan(90, 60),
    "kahan upside down": kahan(90, 60)[::-1],
    "wilkinson 20": wilkinson(40, 20),
    "wilkinson 40": wilkinson(80, 40),
    "wilkinson 60": wilkinson(100, 60),
    "columns over eight decades": gaussian(11, 80, 30) * np.logspace(0, -8, 30),
    "rows over eight decades": gaussian(12, 80, 30) * np.logspace(0, -8, 80)[:, None],
    "rows over eight decades, rising": gaussian(13, 80, 30) * np.logspace(-8, 0, 80)[:, None],
    "duplicated rows": np.repeat(gaussian(14, 40, 30), 2, axis=0),
    "duplicated columns": np.repeat(gaussian(15, 40, 8), 2, axis=1),
    "rank deficient": low_rank(16, 80, 30, 10),
    "exactly rank deficient": np.eye(12, 6) * np.array([1, 1, 0, 1, 0, 1]),
    "zero": np.zeros((9, 4)),
    "vandermonde": np.linspace(-1, 1, 80)[:, None] ** np.arange(30),
    "square": gaussian(17, 30, 30),
    "one row left over": gaussian(18, 31, 30),
    "one column": gaussian(19, 40, 1),
    "single": np.array([[3.0]]),
}


def check_interpolation(M: Array) -> Array:
    kept, rest, T = interpolation_rows(tensor(M))
    assert sorted([*kept.tolist(), *rest.tolist()]) == list(range(len(M)))
    T = array(T)
    assert T.shape == (len(M) - M.shape[1], M.shape[1])
    assert np.abs(T).max(initial=0) <= 2
    np.testing.assert_allclose(T @ M[kept.numpy()], M[rest.numpy()], atol=1e-11 * np.abs(M).max())
    return T


@pytest.mark.parametrize("name", NASTY)
def test_coefficients_are_at_most_two_and_exact(name: str) -> None:
    check_interpolation(NASTY[name])


@properties
@given(
    seed=st.integers(0, 1000),
    columns=st.integers(1, 20),
    extra=st.integers(0, 30),
    decades=st.floats(-8, 8),
    copies=st.integers(0, 5),
)
def test_coefficients_are_at_most_two_and_exact_for_any_matrix(
    seed: int, columns: int, extra: int, decades: float, copies: int
) -> None:
    M = gaussian(seed, columns + extra, columns) * np.logspace(0, decades, columns)
    M[: min(copies, len(M))] = M[-1]
    check_interpolation(M)


@pytest.mark.parametrize("name", ["rows rising", "first rows nearly parallel"])
def test_without_pivoting_coefficients_are_orders_of_magnitude_larger(name: str) -> None:
    M = NASTY["rows over eight decades, rising"]
    if name == "first rows nearly parallel":
        M = gaussian(20, 80, 30)
        M[:30] = M[0] + 1e-3 * M[:30]
    rank = M.shape[1]
    naive = M[rank:] @ np.linalg.inv(M[:rank])
    assert np.abs(naive).max() > 100 * np.abs(check_interpolation(M)).max()


def test_without_pivoting_half_precision_overflows() -> None:
    M = gaussian(21, 60, 20) * np.logspace(-6, 0, 60)[:, None]
    naive = tensor(M[20:] @ np.linalg.inv(M[:20]))
    assert not bool(torch.isfinite(naive.half()).all())
    assert bool(torch.isfinite(tensor(check_interpolation(M)).half()).all())


# Half precision ----------------------------------------------------------------------------------


def relative_error(factor: torch.nn.Module, x: Tensor, wanted: Tensor, dtype: torch.dtype) -> float:
    y = factor.to(dtype)(x.to(dtype)).double()
    return float((y - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("d_out", "d_in", "rank"), [(96, 96, 40), (48, 160, 30), (160, 48, 30)])
def test_block_identity_costs_little_accuracy_in_half_precision(
    d_out: int, d_in: int, rank: int, dtype: torch.dtype
) -> None:
    C = moment(22, d_in, span=4)
    P = preconditioners.root_covariance(tensor(C), 0.01)
    product = best_product(tensor(gaussian(23, d_out, d_in)), P, rank)
    x = P.whiten(tensor(gaussian(24, 50, d_in)))
    wanted = x @ product.dense().T
    plain = relative_error(join(product, P, "left", None), x, wanted, dtype)
    for junction in IDENTITY:
        factor = join(product, P, junction, None)
        assert isinstance(factor, _BlockIdentity)
        assert relative_error(factor, x, wanted, dtype) < 4 * plain
