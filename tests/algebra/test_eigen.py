"""Leading eigenvectors and products with triangles, against numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from harness.algebra.blocked_products import (
    NARROWEST,
    STRIPS,
    energy,
    gram,
    largest,
    sandwich,
    triangle_product,
)
from harness.algebra.eigen import leading_eigenvectors
from harness.errors import NonFiniteError
from tests.helpers.oracles import Array, array, gaussian, low_rank, moment, rotation, tensor

SIZES = [1, 2, 3, 7, 40]
CUT = [1, NARROWEST, NARROWEST + 1, 3 * NARROWEST - 5, STRIPS * NARROWEST + 50]
"""Sizes of one strip, of several, of as many as there are, and of uneven ones."""


def spectra(size: int) -> dict[str, Array]:
    """Eigenvalues that are easy, tied, vanishing, of many decades, of both signs, tiny and huge."""
    tied = np.repeat([3.0, 2.0, 1.0], -(-size // 3))[:size]
    return {
        "apart": np.linspace(1, 2, size),
        "tied": tied,
        "nearly tied": tied * (1 + 1e-14 * np.arange(size)),
        "all equal": np.ones(size),
        "singular": np.where(np.arange(size) <= size // 3, tied, 0),
        "graded": np.logspace(0, -14, size),
        "indefinite": np.linspace(-1, 1, size),
        "tiny": 1e-300 * tied,
        "huge": 1e300 * tied,
    }


@pytest.mark.parametrize("name", spectra(1))
@pytest.mark.parametrize("size", SIZES)
def test_leading_eigenvectors_span_what_is_largest(size: int, name: str) -> None:
    Q = rotation(1, size)
    S = (Q * spectra(size)[name]) @ Q.T
    S = np.tril(S) + np.tril(S, -1).T
    largest = np.abs(S).max()
    wanted = scipy.linalg.eigvalsh(S / largest)[::-1] * largest
    for rank in sorted({1, size // 2 or 1, size}):
        before = tensor(S)
        values, vectors = leading_eigenvectors(before, rank)
        assert torch.equal(before, tensor(S))
        assert values.shape == (size,)
        assert vectors.shape == (size, rank)
        np.testing.assert_allclose(array(values) / largest, wanted / largest, atol=1e-13)
        V = array(vectors)
        np.testing.assert_allclose(V.T @ V, np.eye(rank), atol=1e-13)
        np.testing.assert_allclose(
            S / largest @ V, V * (wanted[:rank] / largest), atol=1e-13, err_msg=f"rank {rank}"
        )


def test_a_matrix_of_zeros_has_orthonormal_eigenvectors() -> None:
    values, vectors = leading_eigenvectors(torch.zeros(5, 5, dtype=torch.float64), 3)
    assert not bool(values.any())
    np.testing.assert_allclose(array(vectors.T @ vectors), np.eye(3), atol=1e-15)


def test_a_diagonal_matrix_gives_its_axes() -> None:
    values, vectors = leading_eigenvectors(tensor(np.diag([1.0, 5.0, -2.0, 3.0])), 2)
    np.testing.assert_allclose(array(values), [5, 3, 1, -2], atol=1e-15)
    np.testing.assert_allclose(np.abs(array(vectors)), np.eye(4)[:, [1, 3]], atol=1e-15)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_no_eigenvectors_of_what_is_not_finite(poison: float) -> None:
    S = tensor(moment(2, 5))
    S[1, 1] = poison
    with pytest.raises(NonFiniteError):
        leading_eigenvectors(S, 2)


def test_single_precision_takes_the_library_s_eigensolver_to_the_same_result() -> None:
    S = tensor(moment(3, 30, span=1))
    values, vectors = leading_eigenvectors(S, 4)
    single, rough = leading_eigenvectors(S.float(), 4)
    assert rough.dtype == torch.float32
    np.testing.assert_allclose(array(single), array(values), atol=1e-5)
    np.testing.assert_allclose(array(rough) @ array(rough).T, array(vectors @ vectors.T), atol=1e-4)


@pytest.mark.parametrize("size", CUT)
def test_products_in_strips_are_the_products(size: int) -> None:
    W, S, L = gaussian(4, 7, size), low_rank(5, size, size, 3), np.tril(gaussian(7, size, size))
    S = S + S.T
    close = {"rtol": 1e-11, "atol": 1e-9}
    np.testing.assert_allclose(array(triangle_product(tensor(W), tensor(L))), W @ L, **close)
    np.testing.assert_allclose(array(sandwich(tensor(W), tensor(S))), W @ S @ W.T, **close)
    np.testing.assert_allclose(float(energy(tensor(W), tensor(S))), np.trace(W @ S @ W.T), **close)
    for Y in (tensor(W).T, tensor(W), tensor(L)):
        np.testing.assert_allclose(array(gram(Y)), array(Y) @ array(Y).T, **close)


@pytest.mark.parametrize("extreme", [7.5, -7.5, float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("shape", [(1, 1), (40, 40), (300,)])
def test_the_largest_value_shows_whatever_its_sign_and_what_is_not_finite(
    shape: tuple[int, ...], extreme: float
) -> None:
    M = tensor(np.clip(gaussian(8, *shape), -5, 5))
    M.view(-1)[M.numel() // 2] = extreme
    np.testing.assert_equal(largest(M), abs(extreme))
