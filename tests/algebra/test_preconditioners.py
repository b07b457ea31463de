"""Each preconditioner is its formula, written out with explicit inverses and roots."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from harness.algebra import preconditioners
from harness.algebra.preconditioners import Preconditioner
from harness.algebra.spectral import inverse_root, symmetric_root
from harness.errors import NonFiniteError
from tests.helpers.oracles import array, damped, gaussian, moment, tensor

SIZE = 7
C = moment(1, SIZE)
MAGNITUDE = np.abs(gaussian(2, SIZE)) + 0.1
SINGULAR = moment(3, SIZE, rank=3)
DAMPING = 0.05


def explicit() -> dict[str, tuple[Preconditioner, np.ndarray]]:
    """Ours, and the matrix ``P`` by brute force."""
    total = damped(C, DAMPING)
    return {
        "identity": (preconditioners.identity(SIZE, tensor(C)), np.eye(SIZE)),
        "hessian": (
            preconditioners.hessian(tensor(C), DAMPING),
            np.diag(np.diag(np.linalg.inv(total)) ** -0.5),
        ),
        "l1": (preconditioners.l1(tensor(MAGNITUDE), 0.5), np.diag(MAGNITUDE**0.5)),
        "l1, whole": (preconditioners.l1(tensor(MAGNITUDE), 1.0), np.diag(MAGNITUDE)),
        "l2": (preconditioners.l2(tensor(C)), np.diag(np.diag(C) ** 0.5)),
        "cov": (preconditioners.covariance(tensor(C), DAMPING), total),
        "rootcov": (
            preconditioners.root_covariance(tensor(C), DAMPING),
            scipy.linalg.sqrtm(total),
        ),
    }


@pytest.mark.parametrize("name", explicit())
def test_metric_is_the_formula_squared(name: str) -> None:
    ours, P = explicit()[name]
    metric = array(ours.metric)
    np.testing.assert_allclose(
        np.diag(metric) if metric.ndim == 1 else metric, P @ P.T, rtol=1e-11, atol=1e-13
    )


@pytest.mark.parametrize("name", explicit())
def test_whitened_weights_have_the_gram_matrix_of_the_formula(name: str) -> None:
    ours, P = explicit()[name]
    W = gaussian(4, 5, SIZE)
    wanted = W @ P @ P.T @ W.T
    whitened = array(ours.whiten(tensor(W)))
    np.testing.assert_allclose(whitened @ whitened.T, wanted, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(array(ours.gram(tensor(W))), wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["identity", "hessian", "l1", "l2", "cov"])
def test_root_is_the_formula_itself_where_it_is_at_hand(name: str) -> None:
    ours, P = explicit()[name]
    root = array(ours.root)
    np.testing.assert_allclose(np.diag(root) if root.ndim == 1 else root, P, rtol=1e-11, atol=1e-13)


def test_damping_is_relative_to_the_mean_diagonal() -> None:
    wanted = C + 0.3 * np.mean(np.diag(C)) * np.eye(SIZE)
    np.testing.assert_allclose(array(preconditioners.damped(tensor(C), 0.3)), wanted, rtol=1e-14)
    np.testing.assert_array_equal(array(preconditioners.damped(tensor(C), 0)), C)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_damping_follows_the_units_of_the_activations(scale: float) -> None:
    np.testing.assert_allclose(
        array(preconditioners.damped(tensor(scale * C), 0.01)),
        scale * array(preconditioners.damped(tensor(C), 0.01)),
        rtol=1e-13,
    )


def test_hessian_of_a_singular_moment_says_what_to_do() -> None:
    singular = np.diag([1.0, 2.0, 0.0])
    with pytest.raises(NonFiniteError, match="--damping"):
        preconditioners.hessian(tensor(singular), 0)
    assert bool(torch.isfinite(preconditioners.hessian(tensor(singular), 0.01).root).all())


@pytest.mark.parametrize("damping", [0, 1e-6, 0.01])
def test_a_singular_moment_has_a_root(damping: float) -> None:
    for build in (preconditioners.root_covariance, preconditioners.covariance):
        ours = build(tensor(SINGULAR), damping)
        root = array(ours.root)
        total = damped(SINGULAR, damping)
        wanted = total if build is preconditioners.root_covariance else total @ total
        np.testing.assert_allclose(root @ root.T, wanted, atol=1e-12)


def test_the_root_of_an_indefinite_rounding_error_is_finite() -> None:
    nearly = SINGULAR - 1e-15 * np.eye(SIZE)
    root = array(preconditioners.root_covariance(tensor(nearly), 0).root)
    np.testing.assert_allclose(root @ root.T, SINGULAR, atol=1e-12)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_non_finite_moments_are_refused(poison: float) -> None:
    bad = tensor(C)
    bad[2, 2] = poison
    with pytest.raises(NonFiniteError):
        preconditioners.damped(bad, 0.01)
    with pytest.raises(NonFiniteError):
        preconditioners.hessian(bad, 0.01)
    with pytest.raises(NonFiniteError):
        preconditioners.covariance(bad, 0.01)
    with pytest.raises(NonFiniteError):
        preconditioners.root_covariance(bad, 0.01)
    with pytest.raises(NonFiniteError):
        preconditioners.l2(bad)
    with pytest.raises(NonFiniteError):
        preconditioners.l1(bad.diagonal(), 0.5)


def test_roots_square_to_the_matrix() -> None:
    np.testing.assert_allclose(
        array(symmetric_root(tensor(C))), scipy.linalg.sqrtm(C), rtol=1e-9, atol=1e-12
    )
    root = array(Preconditioner(tensor(C)).root)
    np.testing.assert_allclose(root @ root.T, C, rtol=1e-11, atol=1e-14)


def test_inverse_root_undoes_each_kind_of_root() -> None:
    Y = gaussian(5, 3, SIZE)
    for root in (np.linalg.cholesky(C), symmetric_root(tensor(C)).numpy()):
        np.testing.assert_allclose(
            array(inverse_root(tensor(root), tensor(Y))), Y @ np.linalg.inv(root), rtol=1e-9
        )
    diagonal = np.array([2.0, 0.0, 1.0, 4.0, 0.5, 0.0, 3.0])
    np.testing.assert_allclose(
        array(inverse_root(tensor(diagonal), tensor(Y))), Y @ np.linalg.pinv(np.diag(diagonal))
    )
    half = symmetric_root(tensor(SINGULAR))
    np.testing.assert_allclose(
        array(inverse_root(half, tensor(Y))),
        Y @ np.linalg.pinv(scipy.linalg.sqrtm(SINGULAR + 0j).real, rcond=1e-6),
        rtol=1e-6,
        atol=1e-6,
    )


def test_where_nothing_enters_no_direction_counts_more_than_another():
    C = torch.zeros(4, 4, dtype=torch.float64)
    eye = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(preconditioners.damped(C, 0.01), eye)
    torch.testing.assert_close(preconditioners.hessian(C, 0.01).metric, torch.ones_like(C[0]))
