"""Local compression: the best rank-r weight under a preconditioner (equations 3 to 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.algebra.blocked_products import energy, gram
from harness.algebra.eigen import leading_eigenvectors
from harness.algebra.preconditioners import Preconditioner, root_covariance
from harness.algebra.spectral import leading_rows, precise


@dataclass(frozen=True)
class Product:
    """``W_hat = B A`` with ``B: [d_out, r]``, ``A: [r, d_in]``.

    ``singular: [r]`` is given when the pair is canonical: ``B`` has orthonormal columns and the
    rows of ``A P`` are orthogonal with these norms.
    """

    B: Tensor
    A: Tensor
    singular: Tensor | None = None

    def dense(self) -> Tensor:
        """``B A``."""
        return self.B @ self.A


@dataclass(frozen=True)
class Fit:
    """A rank-r affine map ``y = B A x + bias`` and the preconditioner it is optimal for."""

    product: Product
    bias: Tensor | None
    preconditioner: Preconditioner


def best_product(W: Tensor, preconditioner: Preconditioner, rank: int) -> Product:
    """Minimise ``||(W - B A) P||`` over rank-``rank`` products.

    The minimiser is the output-side projection ``U U^T W`` on the leading left singular vectors
    ``U`` of ``W P``; no inverse of ``P`` is needed, so a singular ``P`` is harmless. Where ``P``
    is a triangle, ``U^T W`` is cheaper as ``S V^T P^-1``.
    """
    d_out, d_in = W.shape
    if d_out <= d_in:
        values, U = leading_eigenvectors(preconditioner.gram(W), rank)
        return Product(U, U.T @ W, values[:rank].clamp_min(0).sqrt())
    if preconditioner.triangle is None:
        rows, singular = leading_rows(preconditioner.whiten(W).T, rank)
        return Product(rows.T, rows @ W, singular[:rank])
    Y = preconditioner.whiten(W)
    values, V = leading_eigenvectors(gram(Y.T), rank)
    singular = values[:rank].clamp_min(0).sqrt()
    B = Y @ V
    A = torch.linalg.solve_triangular(preconditioner.triangle, V.T, upper=False, left=False)
    if not precise(singular):
        return Product(B, A)
    return Product(B / singular, singular[:, None] * A, singular)


def canonical(product: Product, preconditioner: Preconditioner) -> Product:
    """The same ``W_hat`` with orthonormal ``B`` and orthogonal rows of ``A P``."""
    if product.singular is not None:
        return product
    Q, R = torch.linalg.qr(product.B)
    A = R @ product.A
    values, vectors = leading_eigenvectors(preconditioner.gram(A), len(A))
    singular = values.clamp_min(0).sqrt()
    return Product(Q @ vectors, vectors.T @ A, singular)


def quadratic_loss(W: Tensor, W_hat: Tensor, C: Tensor) -> Tensor:
    """``||(W - W_hat) C^(1/2)||^2``: mean squared output error under moment ``C``."""
    return energy(W - W_hat, C)


def reduced_rank_regression(
    cross: Tensor, drifted: Tensor, prior: Tensor, damping: float, rank: int
) -> tuple[Product, Preconditioner]:
    """Minimise ``E ||y - B A x_hat||^2 + lam ||prior - B A||^2`` over rank-``rank`` products.

    Where the input has drifted from ``x`` to ``x_hat``, the best map to ``y = W x`` is no longer
    a projection of ``W``. The ridge pulls towards ``prior`` (the original weight), so that
    without drift the result is the damped local fit whatever the damping. Without a ridge the
    full-rank map is the one nearest to ``prior`` where the input leaves it open.

    Args:
        cross: ``E[y x_hat^T]``, ``[d_out, d_in]``.
        drifted: ``E[x_hat x_hat^T]``, ``[d_in, d_in]``.
        prior: ``[d_out, d_in]``.
        damping: ``lam`` relative to the mean diagonal of ``drifted``.
        rank: inner dimension.

    Returns:
        the product, and the preconditioner it is optimal for.
    """
    preconditioner = root_covariance(drifted, damping)
    change = cross - prior @ drifted
    if damping > 0 and bool(drifted.diagonal().any()):
        change = _right_divided(change, preconditioner)
    else:
        change = change @ torch.linalg.pinv(preconditioner.metric, hermitian=True)
    return best_product(prior + change, preconditioner, rank), preconditioner


def _right_divided(Y: Tensor, preconditioner: Preconditioner) -> Tensor:
    """``Y M^-1`` for the metric ``M``."""
    if preconditioner.triangle is None:
        return torch.linalg.solve(preconditioner.metric, Y.T).T
    return torch.cholesky_solve(Y.T, preconditioner.triangle).T
