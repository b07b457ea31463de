"""The junction: how ``W_hat = B A`` is stored (equations 7 to 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.algebra.lowrank import Product, canonical
from harness.algebra.preconditioners import Preconditioner
from harness.algebra.ranks import Junction
from harness.factors import Factor, InputIdentity, LowRank, OutputIdentity


def join(
    product: Product, preconditioner: Preconditioner, junction: Junction, bias: Tensor | None
) -> Factor:
    """Store ``product`` in the form ``junction``; the map ``W_hat`` is the same for all.

    ``left`` puts the singular values into ``B`` (rows of ``A P`` orthonormal), ``right`` into
    ``A`` (columns of ``B`` orthonormal), ``symmetric`` splits them evenly; the two
    block-identity forms make ``A`` or ``B`` an identity beside a small remainder.
    """
    if junction == "block-identity":
        kept, rest, T_transposed = interpolation_rows(product.A.T)
        F = product.B @ product.A[:, kept]
        return InputIdentity(F, T_transposed.T, kept, rest, bias)
    if junction == "block-identity-output":
        kept, rest, T = interpolation_rows(product.B)
        return OutputIdentity(product.B[kept] @ product.A, T, kept, rest, bias)
    pair = canonical(product, preconditioner)
    assert pair.singular is not None
    power = {"left": 1.0, "symmetric": 0.5, "right": 0.0}[junction]
    scale = pair.singular**power
    inverse = torch.where(scale > 0, 1 / scale, torch.zeros_like(scale))
    return LowRank(pair.B * scale, inverse[:, None] * pair.A, bias)


def interpolation_rows(M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Write all rows of ``M: [n, r]`` (``r <= n``) as combinations of ``r`` well-chosen rows.

    Gaussian elimination with partial pivoting picks the rows, then rows are exchanged while
    some coefficient exceeds 2 in size, each exchange more than doubling the volume of
    the chosen block. Without that the coefficients can overflow half precision.

    Returns:
        ``kept: [r]``, ``rest: [n - r]``, and ``T: [n - r, r]`` with
        ``M[rest] = T M[kept]`` and ``|T| <= 2``.
    """
    n, r = M.shape
    LU, pivots = torch.linalg.lu_factor(M)
    permutation, L, _ = torch.lu_unpack(LU, pivots, unpack_data=True)
    order = permutation.argmax(0)
    T = torch.linalg.solve_triangular(L[:r], L[r:], upper=False, left=False, unitriangular=True)
    for _ in range(4 * n):
        if T.numel() == 0:
            break
        row, column = divmod(int(T.abs().argmax()), r)
        pivot = T[row, column].clone()
        if pivot.abs() <= 2:
            break
        # Exchanging rest[row] with kept[column] is a rank-one update of T.
        step = T[row].clone()
        step[column] -= 1
        lift = T[:, column].clone()
        lift[row] += 1
        T -= torch.outer(lift / pivot, step)
        order[[r + row, column]] = order[[column, r + row]]
    return order[:r], order[r:], T
