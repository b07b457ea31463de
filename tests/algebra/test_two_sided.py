"""Low rank under two moments against brute force and known special cases."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.algebra.lowrank import best_product
from harness.algebra.preconditioners import Preconditioner, root_covariance
from harness.algebra.spectral import symmetric_root
from harness.algebra.two_sided import output_metric, tails, towards_diagonal, two_sided_product
from harness.errors import NonFiniteError

SHAPES = [(5, 8), (8, 5), (6, 6)]


def random_problem(shape, seed=0, rank_G=None, rank_C=None):
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, dtype=torch.float64, generator=generator)

    d_out, d_in = shape
    g, x = normal(d_out, rank_G or 2 * d_out), normal(d_in, rank_C or 2 * d_in)
    return normal(d_out, d_in), g @ g.T, x @ x.T


def loss(W, W_hat, G, C):
    E = W - W_hat
    return torch.einsum("oi,op,pj,ij->", E, G, E, C).item()


def descended(W, G, C, rank, seed):
    """The least loss that quasi-Newton descent over both factors finds."""
    generator = torch.Generator().manual_seed(seed)
    B = torch.randn(len(W), rank, dtype=torch.float64, generator=generator).requires_grad_()
    A = torch.randn(rank, W.shape[1], dtype=torch.float64, generator=generator).requires_grad_()
    search = torch.optim.LBFGS([B, A], max_iter=500, line_search_fn="strong_wolfe")

    def step():
        search.zero_grad()
        E = W - B @ A
        value = ((G @ E @ C) * E).sum()
        value.backward()
        return value

    for _ in range(4):
        search.step(step)
    return step().item()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 3])
def test_no_descent_finds_less(shape, rank):
    W, G, C = random_problem(shape)
    found = two_sided_product(W, Preconditioner(G), Preconditioner(C), rank)
    own = loss(W, found.dense(), G, C)
    least = min(descended(W, G, C, rank, seed) for seed in range(3))
    assert own == pytest.approx(least, rel=1e-5)
    assert own <= least * (1 + 1e-9)


@given(st.sampled_from(SHAPES), st.integers(1, 5), st.integers(0, 1000))
def test_the_loss_is_the_tail(shape, rank, seed):
    W, G, C = random_problem(shape, seed)
    metrics = Preconditioner(G), Preconditioner(C)
    lost = tails(W, *metrics)
    assert len(lost) == min(shape) + 1
    assert bool((lost.diff() <= 0).all())
    assert lost[0] == pytest.approx(loss(W, torch.zeros_like(W), G, C), rel=1e-9)
    assert lost[-1] == 0
    product = two_sided_product(W, *metrics, rank)
    assert loss(W, product.dense(), G, C) == pytest.approx(
        float(lost[rank]), rel=1e-7, abs=1e-9 * float(lost[0])
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_full_rank_is_exact(shape):
    W, G, C = random_problem(shape)
    product = two_sided_product(W, Preconditioner(G), Preconditioner(C), min(shape))
    torch.testing.assert_close(product.dense(), W)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_gradients_it_is_the_root_covariance_fit(shape):
    W, _, C = random_problem(shape)
    metric = root_covariance(C, 0.01)
    expected = best_product(W, metric, 2).dense()
    for G in (torch.eye(len(W), dtype=torch.float64), torch.zeros(len(W), len(W)).double()):
        found = two_sided_product(W, output_metric(G, 0.5, 0.1), metric, 2)
        torch.testing.assert_close(found.dense(), expected)


@given(st.sampled_from(SHAPES), st.floats(1e-8, 1e8), st.floats(1e-8, 1e8))
def test_scaling_either_moment_changes_nothing(shape, g, c):
    W, G, C = random_problem(shape)

    def fit(G, C):
        return two_sided_product(W, output_metric(G, 0.2, 0.1), root_covariance(C, 0.01), 2).dense()

    torch.testing.assert_close(fit(g * G, c * C), fit(G, C), rtol=1e-6, atol=1e-8)


def test_any_square_roots_give_the_same():
    W, G, C = random_problem((5, 8))
    other = Preconditioner(G, known_root=symmetric_root(G))
    expected = two_sided_product(W, Preconditioner(G), Preconditioner(C), 2).dense()
    found = two_sided_product(W, other, Preconditioner(C), 2).dense()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rank_G", "rank_C"), [(1, None), (None, 1), (2, 2)])
def test_moments_of_deficient_rank_still_give_the_tail(shape, rank_G, rank_C):
    W, G, C = random_problem(shape, 3, rank_G, rank_C)
    metrics = Preconditioner(G), Preconditioner(C)
    scale = loss(W, torch.zeros_like(W), G, C)
    for rank in (1, 2):
        product = two_sided_product(W, *metrics, rank)
        assert bool(torch.isfinite(product.dense()).all())
        found = loss(W, product.dense(), G, C)
        assert found == pytest.approx(float(tails(W, *metrics)[rank]), abs=1e-6 * scale)


@pytest.mark.parametrize("rank_C", [1, None])
def test_damped_moments_of_deficient_rank_are_fine(rank_C):
    W, G, C = random_problem((6, 6), 5, 1, rank_C)
    output, metric = output_metric(G, 0.3, 0.1), root_covariance(C, 0.01)
    product = two_sided_product(W, output, metric, 5)
    assert loss(W, product.dense(), output.metric, metric.metric) == pytest.approx(
        float(tails(W, output, metric)[5]), rel=1e-6
    )


@given(st.floats(0, 1))
def test_shrinkage_keeps_the_diagonal_and_scales_the_rest(share):
    _, G, _ = random_problem((5, 5))
    shrunk = towards_diagonal(G, share)
    torch.testing.assert_close(shrunk.diagonal(), G.diagonal())
    rest = 1 - torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(shrunk * rest, (1 - share) * G * rest)


def test_gradients_that_are_no_numbers_are_refused():
    G = torch.eye(3, dtype=torch.float64)
    G[0, 1] = float("nan")
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        output_metric(G, 0.0, 0.1)
