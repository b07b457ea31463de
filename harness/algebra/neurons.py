"""Which neurons of an MLP to keep, and what the others leave to them.

The down projection ``y = W x`` reads the neurons ``x: [n]``. A neuron that is removed takes its row
of gate and up and its column of ``W`` with it; the columns that stay are fitted anew by least
squares (the optimal brain surgeon of Hassibi and Stork, 1993, with a matrix-valued output).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.algebra.blocked_products import sandwich
from harness.algebra.preconditioners import Preconditioner
from harness.errors import NonFiniteError

BATCH = 128
"""Removals between two updates of the whole matrices."""


class Neurons(int):
    """How many neurons an MLP keeps, in the place of the ranks of its layers."""


@dataclass(frozen=True)
class Removal:
    """Neurons in the order in which they are removed.

    Attributes:
        order: ``[n]``, the first to go first.
        losses: ``[n + 1]``; entry ``k`` is the loss when the last ``k`` of ``order`` are kept.
    """

    order: Tensor
    losses: Tensor

    def kept(self, count: int) -> Tensor:
        """The last ``count`` neurons, ascending."""
        return self.order[len(self.order) - count :].sort().values


def removal(W: Tensor, output: Preconditioner, C: Tensor, count: int = 0) -> Removal:
    """Remove one neuron after the other, each time the one that then costs least.

    With ``W'`` the refitted weight of the neurons that are left and ``P`` the inverse of their
    moment, neuron ``j`` costs ``W'_j^T G W'_j / P_jj``, and the sum of the costs is the loss
    ``||R^T (W - W') C^(1/2)||^2``.

    Args:
        W: ``[d_out, n]``.
        output: ``G = R R^T`` of the gradients, ``[d_out, d_out]``.
        C: second moment of the neurons, ``[n, n]``, positive definite.
        count: how many to keep; losses below it are infinite.

    Raises:
        NonFiniteError: an argument holds NaN or infinity, or ``C`` is singular to rounding.
    """
    root, singular = torch.linalg.cholesky_ex(C)
    if int(singular) or not bool(torch.isfinite(root).all() and torch.isfinite(W).all()):
        raise NonFiniteError(
            "the moment of the MLP's neurons is not finite and positive definite; pass a larger "
            "--damping"
        )
    left = torch.arange(len(C), device=C.device)
    P = torch.cholesky_inverse(root)
    M = sandwich(W.T, output.metric)
    order, costs = [left[:0]], [C.new_zeros(1)]
    while len(left) > count:
        gone, spent, P, M = _remove(P, M, min(BATCH, len(left) - count))
        order.append(left[gone])
        costs.append(spent)
        left = left[_others(gone, len(left))]
    losses = torch.full((len(C) + 1,), torch.inf, dtype=C.dtype, device=C.device)
    losses[count:] = torch.cat(costs).cumsum(0).flip(0)
    return Removal(torch.cat([*order, left]), losses)


def dependence(influence: Tensor, W: Tensor, G: Tensor, C: Tensor) -> Tensor:
    """How many times more each neuron matters than moments taken apart say, ``[n]``, at least 1.

    Moments multiply as if what a neuron carries did not depend on the gradient that it meets. One
    that is silent until what it says is decisive matters more. That one may matter less is true of
    small changes only, and of massive activations the change is not small.

    Args:
        influence: ``E[(x_j w_j^T g)^2]`` for every neuron ``x_j`` with column ``w_j``, ``[n]``.
        W: ``[d_out, n]``.
        G: ``E[g g^T]`` of the gradients, ``[d_out, d_out]``.
        C: ``E[x x^T]`` of the neurons, ``[n, n]``.
    """
    apart = C.diagonal() * (W * (G @ W)).sum(0)
    return torch.where(apart > 0, influence / apart, torch.ones_like(apart)).clamp_min(1)


def refitted(W: Tensor, C: Tensor, kept: Tensor) -> Tensor:
    """The columns ``kept: [k]`` of ``W: [d_out, n]``, which stand for all of them.

    Returns:
        ``W C[:, kept] C[kept, kept]^-1``, ``[d_out, k]``, which minimises
        ``||R^T (W - W') C^(1/2)||`` under every ``R``.
    """
    rows = C[kept]
    root = torch.linalg.cholesky(rows[:, kept])
    return torch.cholesky_solve(rows @ W.T, root).T


def _remove(P: Tensor, M: Tensor, many: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Remove ``many`` neurons.

    Every removal changes ``P`` by a product of two vectors and ``M = W'^T G W'`` by two of them.
    They are collected, since a row and the diagonals are all that the next choice reads.

    Returns:
        Which are gone, ``[many]``, in order; what each cost; ``P`` and ``M`` of the others.
    """
    u, p, w = (P.new_zeros(many, len(P)) for _ in range(3))
    inverse, energy = P.diagonal().clone(), M.diagonal().clone()
    gone = torch.zeros(many, dtype=torch.long, device=P.device)
    costs = P.new_zeros(many)
    for step in range(many):
        j = (energy / inverse).argmin()
        gone[step], costs[step] = j, (energy[j] / inverse[j]).clamp_min(0)
        row = P[j] - u[:step, j] @ u[:step]
        u[step] = row / inverse[j].sqrt()
        p[step] = row / inverse[j]
        row = M[j] - p[:step, j] @ w[:step] - w[:step, j] @ p[:step]
        w[step] = row - 0.5 * energy[j] * p[step]
        inverse -= u[step].square()
        energy -= 2 * p[step] * w[step]
        inverse[gone[: step + 1]] = 1
        energy[gone[: step + 1]] = torch.inf
    stay = _others(gone, len(P))
    u, p, w = u[:, stay], p[:, stay], w[:, stay]
    P, M = P[stay][:, stay], M[stay][:, stay]
    P.addmm_(u.T, u, alpha=-1)
    M.addmm_(torch.cat([p, w]).T, torch.cat([w, p]), alpha=-1)
    return gone, costs, P, M


def _others(gone: Tensor, size: int) -> Tensor:
    stay = torch.ones(size, dtype=torch.bool, device=gone.device)
    stay[gone] = False
    return stay.nonzero().flatten()
