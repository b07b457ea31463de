"""Interpolation: the rows of a factor that can stand for all of them (equations 7 to 9)."""

from __future__ import annotations

import torch
from torch import Tensor

GROWN = 1e3
"""Coefficients above this after elimination have lost digits, which a refinement restores."""


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
    LU, pivots, _ = torch.linalg.lu_factor_ex(M)
    rows = list(range(n))
    for step, pivot in enumerate(pivots.tolist()):
        rows[step], rows[pivot - 1] = rows[pivot - 1], rows[step]
    order = torch.tensor(rows, device=M.device)
    T = torch.linalg.solve_triangular(LU[:r], LU[r:], upper=False, left=False, unitriangular=True)
    if T.numel() == 0:
        return order, order[:0], T
    grown = bool(T.abs().max() > GROWN)
    _exchange(T, order)
    if grown:
        block = M[order[:r]]
        T += (M[order[r:]] - T @ block) @ torch.linalg.pinv(block)
        _exchange(T, order)
    return order[:r], order[r:], T


def _exchange(T: Tensor, order: Tensor) -> None:
    """Exchange rows, in place, until every coefficient in ``T`` is at most 2 in size."""
    r = T.shape[1]
    for _ in range(4 * len(order)):
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
