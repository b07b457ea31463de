"""Removing neurons, against least squares over every candidate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.algebra import neurons
from harness.algebra.neurons import dependence, refitted, removal
from harness.algebra.preconditioners import Preconditioner, damped
from harness.errors import NonFiniteError


def problem(n, outputs=5, tokens=50, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def gaussian(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    x = gaussian(tokens, n) @ gaussian(n, n)
    R = gaussian(outputs, outputs)
    return gaussian(outputs, n), R @ R.T + torch.eye(outputs, dtype=torch.float64), x


def least_squares_loss(W, G, x, kept):
    """Mean loss over the tokens ``x`` when the neurons ``kept`` answer for all, by lstsq."""
    missing = x @ W.T
    if kept:
        missing = missing - x[:, kept] @ torch.linalg.lstsq(x[:, kept], missing).solution
    return float(torch.einsum("to,op,tp->", missing, G, missing)) / len(x)


@pytest.mark.parametrize(("n", "batch"), [(1, 64), (9, 64), (20, 6), (12, 1)])
def test_every_removal_is_the_cheapest_there_is(n, batch, monkeypatch):
    monkeypatch.setattr(neurons, "BATCH", batch)
    W, G, x = problem(n)
    found = removal(W, Preconditioner(G), x.T @ x / len(x))
    assert sorted(found.order.tolist()) == list(range(n))
    left = list(range(n))
    assert float(found.losses[n]) == 0
    for j in found.order.tolist():
        candidates = {i: least_squares_loss(W, G, x, [k for k in left if k != i]) for i in left}
        assert candidates[j] == pytest.approx(min(candidates.values()), rel=1e-8)
        left.remove(j)
        assert float(found.losses[len(left)]) == pytest.approx(candidates[j], rel=1e-8)


@given(st.integers(0, 1000), st.integers(1, 8))
def test_dependence_is_what_single_removals_cost_beyond_moments_apart(seed, n):
    W, _, x = problem(n, seed=seed)
    g = torch.roll(x @ torch.ones_like(W).T, 1, 0) * x[:, :1] + torch.arange(len(W))
    together = torch.einsum("tj,oj,to->tj", x, W, g).square().mean(0)
    C, G = x.T @ x / len(x), g.T @ g / len(g)
    found = dependence(together, W, G, C)
    for j in range(n):
        apart = float(C[j, j] * W[:, j] @ G @ W[:, j])
        assert float(found[j]) == pytest.approx(max(float(together[j]) / apart, 1.0))
    silent = W * 0
    nothing = torch.zeros(n, dtype=torch.float64)
    assert torch.equal(dependence(nothing, silent, G, C), torch.ones_like(nothing))


@given(st.integers(0, 1000), st.integers(1, 8), st.integers(0, 8))
def test_losses_fall_with_the_neurons_and_stop_where_they_are_told(seed, n, count):
    W, G, x = problem(n, seed=seed)
    count = min(count, n)
    C = damped(x.T @ x / len(x), 0.01)
    whole, part = (removal(W, Preconditioner(G), C, k) for k in (0, count))
    assert torch.equal(whole.kept(count), part.kept(count))
    assert bool((whole.losses[:-1] >= whole.losses[1:]).all())
    assert torch.equal(part.losses[count:], whole.losses[count:])
    assert bool(part.losses[:count].isinf().all())
    everything = torch.einsum("oi,op,pj,ij->", W, G, W, C)
    assert float(whole.losses[0]) == pytest.approx(float(everything), rel=1e-8)


def test_refitted_columns_are_those_of_least_squares():
    W, _, x = problem(9)
    kept = torch.tensor([0, 3, 4, 8])
    expected = torch.linalg.lstsq(x[:, kept], x @ W.T).solution.T
    torch.testing.assert_close(refitted(W, x.T @ x, kept), expected)


def test_a_neuron_that_says_nothing_or_the_same_as_another_goes_first():
    W, G, x = problem(6)
    x[:, 2] = 0
    x[:, 4] = 3 * x[:, 1]
    C = damped(x.T @ x / len(x), 1e-9)
    found = removal(W, Preconditioner(G), C)
    assert int(found.order[0]) == 2
    assert int(found.order[1]) in (1, 4)
    assert float(found.losses[4]) < 1e-6 * float(found.losses[0])


def test_moments_that_are_singular_or_no_numbers_are_refused():
    W, G, x = problem(6)
    C = x.T @ x / len(x)
    for bad in (torch.zeros_like(C), C.index_fill(0, torch.tensor(1), torch.nan)):
        with pytest.raises(NonFiniteError, match="not finite and positive definite"):
            removal(W, Preconditioner(G), bad)
    with pytest.raises(NonFiniteError):
        removal(W.index_fill(1, torch.tensor(1), torch.inf), Preconditioner(G), C)
