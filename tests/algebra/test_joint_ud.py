"""The MLP's auxiliary problems against grids and direct solves, and what their losses mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.algebra import preconditioners
from harness.algebra.joint_ud import (
    ALPHA,
    BETA,
    GAMMA,
    inner_targets,
    joint_relu,
    mean_squared_error,
    preactivation_targets,
    predict,
    regress,
)
from harness.algebra.lowrank import Fit, Product, best_product
from tests.helpers.oracles import (
    Array,
    array,
    gaussian,
    moment,
    properties,
    squared,
    symmetric_root,
    tensor,
)

TOKENS, WIDTH, INNER = 90, 6, 14


def relu(Z: Array) -> Array:
    return np.maximum(Z, 0)


def element_cost(Z: Array, pre: Array, target: Array) -> Array:
    return ALPHA * (Z - pre) ** 2 + BETA * (target - relu(Z)) ** 2


def test_preactivations_are_the_minimum_of_a_dense_grid() -> None:
    axis = np.linspace(-3, 3, 41)
    pre, target = (part.ravel() for part in np.meshgrid(axis, axis))
    grid = np.linspace(-4, 4, 8001)
    least = element_cost(grid[:, None], pre, target).min(0)
    found = array(preactivation_targets(tensor(pre), tensor(target)))
    ours = element_cost(found, pre, target)
    assert (ours <= least + 1e-12).all()
    assert (ours >= least - 1e-5).all()


@properties
@given(pre=st.floats(-50, 50), target=st.floats(-50, 50), other=st.floats(-60, 60))
def test_no_other_preactivation_costs_less(pre: float, target: float, other: float) -> None:
    found = preactivation_targets(tensor(np.array([pre])), tensor(np.array([target])))
    cost = element_cost(array(found), np.array([pre]), np.array([target]))[0]
    assert cost <= element_cost(np.array(other), np.array(pre), np.array(target)) + 1e-9


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6), (1, 5)])
def test_inner_targets_are_the_direct_solution(shape: tuple[int, int]) -> None:
    width, inner = shape
    W_d, Z, Y = gaussian(1, width, inner), gaussian(2, 30, inner), gaussian(3, 30, width)
    system = GAMMA * W_d.T @ W_d + BETA * np.eye(inner)
    wanted = np.linalg.solve(system, (BETA * relu(Z) + GAMMA * Y @ W_d).T).T
    found = array(inner_targets(tensor(Z), tensor(W_d), tensor(Y)))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)
    gradient = GAMMA * (found @ W_d.T - Y) @ W_d + BETA * (found - relu(Z))
    np.testing.assert_allclose(gradient, 0, atol=1e-10)


def test_inner_targets_of_an_exact_layer_are_its_own_activations() -> None:
    W_d, Z = gaussian(4, 5, 8), gaussian(5, 30, 8)
    found = array(inner_targets(tensor(Z), tensor(W_d), tensor(relu(Z) @ W_d.T)))
    np.testing.assert_allclose(found, relu(Z), atol=1e-12)


# Regression --------------------------------------------------------------------------------------


def fit_case(seed: int) -> tuple[Array, Array, Array]:
    """Targets, inputs, prior; both with means far from zero."""
    X = gaussian(seed, TOKENS, WIDTH) @ symmetric_root(moment(seed + 1, WIDTH, span=1)) + 1
    Y = relu(X @ gaussian(seed + 2, WIDTH, 5)) + 2
    return Y, X, gaussian(seed + 3, 5, WIDTH)


def objective(
    fit: Fit, case: tuple[Array, Array, Array], *, centred: bool, damping: float
) -> float:
    """Mean squared error plus the ridge, its size taken from the inputs' own second moment."""
    Y, X, prior = case
    spread = X - X.mean(0) if centred else X
    ridge = damping * np.mean(spread**2, axis=0).mean()
    return squared(Y - array(predict(fit, tensor(X)))) / len(X) + ridge * squared(
        prior - array(fit.product.dense())
    )


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("damping", [0, 0.01, 1.0])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_regression_is_stacked_least_squares(rank: int, damping: float, centred: bool) -> None:
    Y, X, prior = case = fit_case(10)
    fit = regress(*map(tensor, case), centred, damping, rank)
    shift_x, shift_y = X.mean(0) * centred, Y.mean(0) * centred
    inputs, targets = X - shift_x, Y - shift_y
    weight = np.sqrt(len(X) * damping * np.mean(inputs**2, axis=0).mean())
    inputs = np.vstack([inputs, weight * np.eye(WIDTH)])
    targets = np.vstack([targets, weight * prior.T])
    full = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    V = np.linalg.svd(inputs @ full, full_matrices=False)[2][:rank]
    W_hat = V.T @ V @ full.T
    np.testing.assert_allclose(array(fit.product.dense()), W_hat, rtol=1e-8, atol=1e-9)
    if centred:
        assert fit.bias is not None
        np.testing.assert_allclose(array(fit.bias), shift_y - W_hat @ shift_x, atol=1e-9)
        residual = Y - array(predict(fit, tensor(X)))
        np.testing.assert_allclose(residual.mean(0), 0, atol=1e-10)
    else:
        assert fit.bias is None


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("damping", [0, 0.01])
def test_no_better_regression_nearby(damping: float, centred: bool) -> None:
    case = fit_case(20)
    fit = regress(*map(tensor, case), centred, damping, 2)
    found = objective(fit, case, centred=centred, damping=damping)
    for trial in range(100):
        size = 10.0 ** -(trial % 5)

        def moved(value: Tensor, salt: int, size: float = size, trial: int = trial) -> Tensor:
            return value + size * tensor(gaussian(trial + salt, *value.shape))

        product = Product(moved(fit.product.B, 1), moved(fit.product.A, 2))
        bias = None if fit.bias is None else moved(fit.bias, 3)
        other = Fit(product, bias, fit.preconditioner)
        assert objective(other, case, centred=centred, damping=damping) >= found - 1e-10


def test_a_bias_never_hurts() -> None:
    case = fit_case(30)
    with_bias, without = (regress(*map(tensor, case), centred, 0, 2) for centred in (True, False))
    Y, X, _ = map(tensor, case)
    assert mean_squared_error(Y, X, with_bias) < mean_squared_error(Y, X, without)


def test_mean_squared_error_is_per_token() -> None:
    Y, X, _ = case = fit_case(40)
    fit = regress(*map(tensor, case), True, 0.01, 2)
    wanted = squared(Y - array(predict(fit, tensor(X)))) / TOKENS
    assert mean_squared_error(tensor(Y), tensor(X), fit) == pytest.approx(wanted, rel=1e-12)


def test_single_precision_tokens_give_the_fit_of_double_precision_ones() -> None:
    case = [tensor(part) for part in fit_case(50)]
    double = regress(*case, True, 0.01, 3).product.dense()
    single = regress(case[0].float(), case[1].float(), case[2], True, 0.01, 3).product.dense()
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, double, rtol=1e-3, atol=1e-4)


# ReLU MLP ----------------------------------------------------------------------------------------


class Mlp:
    """A small ReLU MLP, its tokens, and a locally compressed start."""

    def __init__(self, seed: int, rank: int, damping: float, *, centred: bool) -> None:
        root = symmetric_root(moment(seed, WIDTH, span=1))
        self.X = gaussian(seed + 1, TOKENS, WIDTH) @ root + 0.3
        self.W_u, self.b_u = gaussian(seed + 2, INNER, WIDTH), gaussian(seed + 3, INNER)
        self.W_d = gaussian(seed + 4, WIDTH, INNER)
        self.rank, self.damping, self.centred = rank, damping, centred
        C = tensor(self.X.T @ self.X / TOKENS)
        local = best_product(
            tensor(self.W_u), preconditioners.root_covariance(C, damping), rank
        ).dense()
        self.start = self.X @ array(local).T + self.b_u

    def targets(self) -> Array:
        return relu(self.X @ self.W_u.T + self.b_u) @ self.W_d.T

    def fit_down(self, targets: Tensor, inputs: Tensor) -> Fit:
        prior = tensor(self.W_d)
        return regress(targets, inputs, prior, self.centred, self.damping, self.rank)

    def fit_up(self, targets: Tensor, inputs: Tensor) -> Fit:
        prior = tensor(self.W_u)
        return regress(targets, inputs, prior, self.centred, self.damping, self.rank)

    def solve(self, iterations: int = 4) -> tuple[Fit | None, Fit, tuple[float, ...]]:
        up = tensor(self.W_u), tensor(self.b_u)
        X, W_d, start = tensor(self.X), tensor(self.W_d), tensor(self.start)
        return joint_relu(X, up, W_d, start, self.fit_up, self.fit_down, iterations)

    def error(self, up: Fit | None, down: Fit) -> float:
        """Mean squared error of the whole compressed MLP, from its dense matrices."""
        pre = self.start
        if up is not None:
            pre = self.X @ array(up.product.dense()).T + self.b_u
            pre = pre if up.bias is None else pre + array(up.bias)
        out = relu(pre) @ array(down.product.dense()).T
        out = out if down.bias is None else out + array(down.bias)
        return squared(self.targets() - out) / TOKENS


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("damping", [0, 0.01])
@pytest.mark.parametrize("rank", [1, 3, 5])
@pytest.mark.parametrize("seed", [100, 200])
def test_joint_relu_is_never_worse_than_its_local_start(
    seed: int, rank: int, damping: float, centred: bool
) -> None:
    mlp = Mlp(seed, rank, damping, centred=centred)
    up, down, losses = mlp.solve()
    assert len(losses) == 5
    local = mlp.fit_down(tensor(mlp.targets()), tensor(relu(mlp.start)))
    assert losses[0] == pytest.approx(mlp.error(None, local), rel=1e-9)
    assert mlp.error(up, down) == pytest.approx(min(losses), rel=1e-9)
    assert (up is None) == (losses[0] == min(losses))


def test_joint_relu_improves_on_the_local_start_somewhere() -> None:
    gains = []
    for seed in (100, 200, 300, 400):
        losses = Mlp(seed, 3, 0.01, centred=True).solve()[2]
        gains.append(1 - min(losses) / losses[0])
    assert max(gains) > 0.01


def test_joint_relu_is_exact_at_full_rank() -> None:
    mlp = Mlp(500, WIDTH, 0.01, centred=True)
    up, down, losses = mlp.solve()
    assert max(losses) < 1e-18 * squared(mlp.targets())
    np.testing.assert_allclose(array(down.product.dense()), mlp.W_d, atol=1e-9)
    assert up is None or np.abs(array(up.product.dense()) - mlp.W_u).max() < 1e-9


def test_without_iterations_only_the_down_projection_is_refitted() -> None:
    up, _, losses = Mlp(600, 3, 0.01, centred=True).solve(iterations=0)
    assert up is None
    assert len(losses) == 1
