"""Low rank under two moments: of what enters a layer and of the gradients at its output.

Were the error ``E = W - B A`` of one layer the only one, and were what a token carries in
independent of the gradient it meets, what the model predicts would be ``tr(G E C E^T) / 2`` away
from what it predicted (Kullback-Leibler divergence, to second order), with ``C`` the second moment
of the inputs and ``G`` that of the gradients (the Kronecker-factored Fisher information of Martens
and Grosse, arXiv 1503.05671).
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.algebra.lowrank import Product, best_product
from harness.algebra.preconditioners import Preconditioner, damped
from harness.algebra.rank_allocation import discarded
from harness.algebra.spectral import inverse_root


def towards_diagonal(M: Tensor, share: float) -> Tensor:
    """``(1 - share) M + share diag(M)``: trust variances more than correlations."""
    shrunk = (1 - share) * M
    shrunk.diagonal().add_(share * M.diagonal())
    return shrunk


def believed(C0: Tensor, mean: Tensor | None, shrinkage: float) -> Tensor:
    """Second moment with the covariance ``C0`` shrunk, and ``mu mu^T`` in it if it counts."""
    C = towards_diagonal(C0, shrinkage)
    return C if mean is None else C + torch.outer(mean, mean)


def output_metric(G: Tensor, shrinkage: float, damping: float) -> Preconditioner:
    """``G`` shrunk and damped; the identity where no prediction depends on the layer.

    Raises:
        NonFiniteError: ``G`` holds NaN or infinity.
    """
    return Preconditioner(damped(towards_diagonal(G, shrinkage), damping))


def two_sided_product(
    W: Tensor, output: Preconditioner, metric: Preconditioner, rank: int
) -> Product:
    """Minimise ``||R^T (W - B A) P||`` over rank-``rank`` products.

    Args:
        W: ``[d_out, d_in]``.
        output: ``G = R R^T`` of the gradients, ``[d_out, d_out]``.
        metric: ``C = P P^T`` of the inputs, ``[d_in, d_in]``.
        rank: inner dimension.

    Returns:
        ``R^-T U`` and ``U^T R^T W``, where ``U`` are the leading left singular vectors of
        ``R^T W P``. Any square roots give the same product.
    """
    seen = best_product(output.root.T @ W, metric, rank)
    return Product(inverse_root(output.root, seen.B.T).T, seen.A)


def tails(W: Tensor, output: Preconditioner, metric: Preconditioner) -> Tensor:
    """What each rank loses: sums of the discarded eigenvalues, ``[min(d_out, d_in) + 1]``.

    Entry ``r`` is the minimum of ``||R^T (W - B A) P||^2`` over rank ``r``.
    """
    seen = output.root.T @ W
    if W.shape[0] <= W.shape[1]:
        gram = metric.gram(seen)
    else:
        whitened = metric.whiten(seen)
        gram = whitened.T @ whitened
    return discarded(torch.linalg.eigvalsh(gram).flip(0))
