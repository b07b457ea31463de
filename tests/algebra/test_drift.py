"""Making up for drift, against a search over tokens in plain float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.algebra.drift import DAMPINGS, Drift, Half, confirmed_change
from harness.errors import NonFiniteError

D_OUT, D_IN = 5, 7


def tokens(seed, n=40, noise=0.0, law=None):
    """Inputs, and what is missing behind them: ``law x`` and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D_IN)) * np.linspace(1, 0.1, D_IN) + 0.5
    law = rng.normal(size=(D_OUT, D_IN)) if law is None else law
    return x, x @ law.T + noise * rng.normal(size=(n, D_OUT))


def half(x, t, weight=1.0):
    n = len(x)
    arrays = x.T @ x / n, t.T @ x / n, x.mean(0), t.mean(0)
    return Half(weight * n, *map(torch.from_numpy, arrays))


def metric(seed):
    mix = np.random.default_rng(seed).normal(size=(D_OUT, 2 * D_OUT))
    return mix @ mix.T


def ridge(x, t, damping):
    lam = damping * np.mean(np.square(x))
    n = len(x)
    tall = np.vstack([x / np.sqrt(n), np.sqrt(lam) * np.eye(D_IN)])
    wanted = np.vstack([t / np.sqrt(n), np.zeros((D_IN, D_OUT))])
    return np.linalg.lstsq(tall, wanted, rcond=None)[0].T


def error(x, t, change, G):
    rest = t - x @ change.T
    return np.einsum("no,op,np->", rest, G, rest) / len(x)


@pytest.mark.parametrize("noise", [0.0, 0.5, 3.0, 30.0])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_best_share_and_ridge_of_those_that_each_half_grants_the_other(seed, noise):
    G = metric(seed)
    law = np.random.default_rng(seed).normal(size=(D_OUT, D_IN))
    one, other = (tokens(10 * seed + i, noise=noise, law=law) for i in (1, 2))
    halves = [half(*one), half(*other)]
    root = torch.from_numpy(np.linalg.cholesky(G))
    found = confirmed_change(halves, Drift(halves).whole(), root).numpy()
    best, expected = np.inf, None
    both = np.vstack([one[0], other[0]]), np.vstack([one[1], other[1]])
    for damping in DAMPINGS:
        steps = ridge(*one, damping), ridge(*other, damping)
        for share in np.linspace(0, 1, 2001):
            total = error(*other, share * steps[0], G) + error(*one, share * steps[1], G)
            if total < best - 1e-12:
                best, expected = total, share * ridge(*both, damping)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * np.abs(law).max())


def test_what_both_halves_say_alike_is_made_up_for():
    law = np.random.default_rng(0).normal(size=(D_OUT, D_IN))
    halves = [half(*tokens(seed, n=400, law=law)) for seed in (1, 2)]
    change = confirmed_change(halves, Drift(halves).whole(), torch.eye(D_OUT).double()).numpy()
    assert np.linalg.norm(change - law) < 0.2 * np.linalg.norm(law)


def test_halves_that_contradict_each_other_change_nothing():
    x, t = tokens(0)
    halves = [half(x, t), half(x, -t)]
    assert not confirmed_change(halves, Drift(halves).whole(), torch.eye(D_OUT).double()).any()


def test_a_single_half_confirms_nothing():
    halves = [half(*tokens(0))]
    assert not confirmed_change(halves, Drift(halves).whole(), torch.eye(D_OUT).double()).any()


@pytest.mark.parametrize("dead", ["inputs", "missing", "one half", "metric"])
def test_where_nothing_arrives_or_is_missing_nothing_is_changed(dead):
    x, t = tokens(0)
    root = torch.eye(D_OUT, dtype=torch.float64)
    halves = {
        "inputs": [half(0 * x, t), half(0 * x, t)],
        "missing": [half(x, 0 * t), half(x, 0 * t)],
        "one half": [half(0 * x, t), half(x, t)],
        "metric": [half(x, t), half(x, t)],
    }[dead]
    change = confirmed_change(halves, Drift(halves).whole(), 0 * root if dead == "metric" else root)
    assert not change.any()


def test_inputs_of_deficient_rank_give_a_finite_change():
    x, t = tokens(0)
    x[:, 3:] = x[:, :1]
    change = confirmed_change(
        [half(x, t), half(x, t)], half(x, t), torch.eye(D_OUT, dtype=torch.float64)
    )
    assert torch.isfinite(change).all()
    assert change.any()


def test_a_constant_input_changes_nothing_about_its_mean():
    x, t = tokens(0)
    x = np.ones_like(x) * np.linspace(1, 1e3, D_IN)
    halves = [half(x, t).centred(), half(x, t[::-1]).centred()]
    change = confirmed_change(halves, half(x, t).centred(), torch.eye(D_OUT).double())
    assert float((change @ torch.from_numpy(x.T - x.mean(0)[:, None])).norm()) < 1e-6


def test_moments_that_are_not_finite_are_refused():
    x, t = tokens(0)
    x[3, 3] = np.nan
    with pytest.raises(NonFiniteError):
        confirmed_change([half(x, t), half(x, t)], half(x, t), torch.eye(D_OUT).double())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(1e-6, 1e6))
def test_units_of_inputs_and_metric_do_not_matter(seed, unit, scale):
    root = torch.from_numpy(np.linalg.cholesky(metric(seed)))
    parts = [tokens(seed + i, noise=1.0) for i in (0, 1)]
    plain = [half(*one) for one in parts]
    scaled = [half(unit * x, t) for x, t in parts]
    expected = confirmed_change(plain, Drift(plain).whole(), root)
    found = confirmed_change(scaled, Drift(scaled).whole(), scale * root)
    torch.testing.assert_close(unit * found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sizes", [(10, 10), (3, 40)])
def test_both_halves_together_are_all_tokens(sizes):
    parts = [tokens(i, n=n) for i, n in enumerate(sizes)]
    whole = Drift([half(*one) for one in parts]).whole()
    expected = half(np.vstack([x for x, _ in parts]), np.vstack([t for _, t in parts]))
    for name in ("mass", "second", "cross", "input", "missing"):
        torch.testing.assert_close(getattr(whole, name), getattr(expected, name))
    centred, moment = whole.centred(), expected.second
    torch.testing.assert_close(centred.second, moment - torch.outer(expected.input, expected.input))
