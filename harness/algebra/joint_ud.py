"""Joint compression of the MLP (SparseLLM's decoupled loss; appendix, equation 225).

The down projection is always refitted to the true MLP output from the inner activations that
the compressed layers really produce. Where the MLP is ungated with ReLU, the up projection is
first moved towards auxiliary pre-activations that make that refit easier.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.algebra.blocked_products import gram
from harness.algebra.lowrank import Fit, reduced_rank_regression

ALPHA, BETA, GAMMA = 1.0, 1.0, 1.0
"""Weights of the up, activation and down terms of the decoupled loss."""


def regress(
    targets: Tensor, inputs: Tensor, prior: Tensor, centred: bool, damping: float, rank: int
) -> Fit:
    """Rank-``rank`` regression of ``targets: [n, d_out]`` on ``inputs: [n, d_in]``.

    With ``centred`` the bias takes the means, otherwise there is none. The ridge pulls towards
    ``prior: [d_out, d_in]``.
    """
    n = len(inputs)
    cross = (targets.T @ inputs).double() / n
    moment = gram(inputs.T).double() / n
    if not centred:
        product, preconditioner = reduced_rank_regression(cross, moment, prior, damping, rank)
        return Fit(product, None, preconditioner)
    target_mean = targets.mean(0, dtype=torch.float64)
    input_mean = inputs.mean(0, dtype=torch.float64)
    cross -= torch.outer(target_mean, input_mean)
    moment -= torch.outer(input_mean, input_mean)
    product, preconditioner = reduced_rank_regression(cross, moment, prior, damping, rank)
    bias = target_mean - product.B @ (product.A @ input_mean)
    return Fit(product, bias, preconditioner)


def joint_relu(
    X: Tensor,
    up: tuple[Tensor, Tensor],
    down: Tensor,
    start: Tensor,
    fit_up: Callable[[Tensor, Tensor], Fit],
    fit_down: Callable[[Tensor, Tensor], Fit],
    iterations: int,
) -> tuple[Fit | None, Fit, tuple[float, ...]]:
    """Alternate auxiliary variables and low-rank fits; keep the round with the least true loss.

    Args:
        X: MLP inputs ``[n, d]``.
        up: dense ``Wu: [d_i, d]`` and ``b_u: [d_i]``.
        down: dense ``Wd: [d, d_i]``.
        start: pre-activations ``[n, d_i]`` of the locally compressed up projection.
        fit_up: rank-r fit of ``Z - b_u`` on ``X``.
        fit_down: rank-r fit of ``Y - b_d`` on inner activations.
        iterations: rounds.

    Returns:
        the up fit (None where the local one was best), the down fit to what that up projection
        really produces, and the mean squared MLP error of each round, the local start first.
    """
    W_u, b_u = up
    Z = X @ W_u.T + b_u
    Y = Z.relu() @ down.T
    best: tuple[Fit | None, Fit] = (None, fit_down(Y, start.relu()))
    losses = [mean_squared_error(Y, start.relu(), best[1])]
    pre, W_d = start, best[1].product.dense().to(X)
    for _ in range(iterations):
        Z_prime = inner_targets(Z, W_d, Y)
        W_d = fit_down(Y, Z_prime).product.dense().to(X)
        Z = preactivation_targets(pre, Z_prime)
        fitted_up = fit_up(Z - b_u, X)
        pre = predict(fitted_up, X) + b_u
        fitted_down = fit_down(Y, pre.relu())
        loss = mean_squared_error(Y, pre.relu(), fitted_down)
        if loss < min(losses):
            best = (fitted_up, fitted_down)
        losses.append(loss)
    return *best, tuple(losses)


def inner_targets(Z: Tensor, W_d: Tensor, Y: Tensor) -> Tensor:
    """``Z' = (gamma Wd^T Wd + beta I)^-1 (beta relu(Z) + gamma Wd^T Y)`` (equation 226).

    Shapes ``Z, Z': [n, d_i]``, ``W_d: [d, d_i]``, ``Y: [n, d]`` without the down bias. Solved in
    the ``d``-dimensional output space by the Woodbury identity.
    """
    V = BETA * Z.relu() + GAMMA * Y @ W_d
    small = BETA * torch.eye(len(W_d), dtype=Z.dtype, device=Z.device) + GAMMA * W_d @ W_d.T
    return (V - GAMMA * torch.linalg.solve(small, W_d @ V.T).T @ W_d) / BETA


def preactivation_targets(pre: Tensor, Z_prime: Tensor) -> Tensor:
    """Per element the ``Z`` that minimises ``alpha (Z - pre)^2 + beta (Z' - relu(Z))^2``."""
    negative = pre.clamp_max(0)
    positive = ((ALPHA * pre + BETA * Z_prime) / (ALPHA + BETA)).clamp_min(0)

    def cost(Z: Tensor) -> Tensor:
        return ALPHA * (Z - pre) ** 2 + BETA * (Z_prime - Z.relu()) ** 2

    return torch.where(cost(negative) < cost(positive), negative, positive)


def predict(fit: Fit, inputs: Tensor) -> Tensor:
    """``B A x + bias`` for ``inputs: [n, d_in]``, in their dtype."""
    y = inputs @ fit.product.A.to(inputs).T @ fit.product.B.to(inputs).T
    return y if fit.bias is None else y + fit.bias.to(inputs)


def mean_squared_error(targets: Tensor, inputs: Tensor, fit: Fit) -> float:
    """Mean over tokens of the squared error norm of ``fit``."""
    return float((targets - predict(fit, inputs)).double().square().sum(1).mean())
