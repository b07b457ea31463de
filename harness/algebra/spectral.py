"""Square roots and leading singular directions, through the smaller Gram matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.algebra.blocked_products import gram
from harness.algebra.eigen import leading_eigenvectors

PRECISE = 1e-3
"""Singular vectors mapped through a Gram matrix whose singular values lie above this share of
the largest are orthogonal to nine digits as they are."""


def symmetric_root(S: Tensor) -> Tensor:
    """Symmetric ``R`` with ``R R = S`` for positive semidefinite ``S: [..., d, d]``.

    Eigenvalues that rounding made negative count as zero.
    """
    values, vectors = torch.linalg.eigh(S)
    return (vectors * values.clamp_min(0).sqrt().unsqueeze(-2)) @ vectors.mT


def cholesky(S: Tensor) -> Tensor | None:
    """The lower triangle ``L`` with ``L L^T = S: [d, d]``, None unless definite beyond rounding."""
    factor, failed = torch.linalg.cholesky_ex(S)
    return None if int(failed) or not _invertible(factor) else factor


def _invertible(triangle: Tensor) -> bool:
    pivots = triangle.diagonal()
    return bool(pivots.min() > _rounding(triangle) * pivots.max())


def _rounding(R: Tensor) -> float:
    """What rounding leaves of a vanishing singular value of a root, relative to the largest."""
    return float((len(R) * torch.finfo(R.dtype).eps) ** 0.5)


def inverse_root(R: Tensor, Y: Tensor) -> Tensor:
    """``Y R^+`` for ``Y: [m, d]`` and a root ``R: [d, d]`` or a diagonal ``[d]``.

    A triangular root is solved with; a symmetric one is pseudo-inverted, and what rounding
    left of its vanishing singular values is dropped.
    """
    if R.ndim == 1:
        return Y * torch.where(R > 0, 1 / R, torch.zeros_like(R))
    if torch.equal(R, R.tril()) and _invertible(R):
        return torch.linalg.solve_triangular(R, Y, upper=False, left=False)
    return Y @ torch.linalg.pinv(R, rtol=_rounding(R), hermitian=True)


def leading_rows(Y: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The ``rank`` leading right singular vectors of ``Y: [m, d]``.

    Works on the smaller of the two Gram matrices. Rows that belong to a vanishing singular
    value are still orthonormal to the others.

    Returns:
        ``V: [rank, d]`` with orthonormal rows, and all ``min(m, d)`` singular values,
        descending.
    """
    m, d = Y.shape
    if m < d:
        values, left = leading_eigenvectors(gram(Y), rank)
        columns = Y.T @ left
        norms = values[:rank].clamp_min(0).sqrt()
        V = (columns / norms if precise(norms) else torch.linalg.qr(columns)[0]).T
    else:
        values, right = leading_eigenvectors(gram(Y.T), rank)
        V = right.T
    return V.contiguous(), values.clamp_min(0).sqrt()


def precise(norms: Tensor) -> bool:
    """Whether vectors mapped through a Gram matrix, of these descending norms, are orthogonal."""
    return bool(norms[-1] > PRECISE * norms[0])
