"""Leading eigenvectors of a symmetric matrix, without the others."""

from __future__ import annotations

import math

import torch
from scipy.linalg import lapack
from torch import Tensor

from harness.algebra.blocked_products import largest
from harness.errors import NonFiniteError


def leading_eigenvectors(S: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """All eigenvalues of symmetric ``S: [n, n]`` and the eigenvectors of the ``rank`` largest.

    In double precision on a processor the tridiagonal form is solved in full, which is cheap, and
    only what is asked is turned back. The library's own eigensolver, used elsewhere, turns all.

    Returns:
        values ``[n]``, descending, and orthonormal columns ``[n, rank]`` in the same order.

    Raises:
        NonFiniteError: ``S`` holds NaN or infinity.
        torch.linalg.LinAlgError: no convergence.
    """
    scale = largest(S)
    if not math.isfinite(scale):
        raise NonFiniteError("a layer's Gram matrix holds NaN or infinity; check the model")
    if S.device.type == "cpu" and S.dtype == torch.float64 and len(S) > 1 and scale > 0:
        values, vectors = _through_tridiagonal(S / scale, rank)
        return scale * values.flip(0), vectors.flip(1)
    values, vectors = torch.linalg.eigh(S)
    return values.flip(0), vectors.flip(1)[:, :rank]


def _through_tridiagonal(S: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """All eigenvalues and the last ``rank`` eigenvectors, ascending; ``S`` is overwritten.

    Unlike the whole solver, LAPACK's reduction does not scale; ``S`` should be near 1 in size.
    """
    n = len(S)
    # LAPACK reads columns where torch writes rows, which is the same in a symmetric matrix.
    work = int(lapack.dsytrd_lwork(n, lower=1)[0])
    reduced, diagonal, beside, weights, _ = lapack.dsytrd(
        S.numpy().T, lower=1, lwork=work, overwrite_a=1
    )
    values, vectors, failed = lapack.dstevd(diagonal, beside)
    if failed:
        raise torch.linalg.LinAlgError("the eigenvalues of a tridiagonal matrix did not converge")  # type: ignore[attr-defined]
    wanted = torch.from_numpy(vectors)[:, n - rank :]
    reflectors = torch.from_numpy(reduced)[1:, : n - 1]
    turned = torch.ormqr(reflectors, torch.from_numpy(weights), wanted[1:])
    return torch.from_numpy(values), torch.cat([wanted[:1], turned])
