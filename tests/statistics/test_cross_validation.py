"""The share of correlations that other samples confirm, against sums over all pairs."""

from __future__ import annotations

import itertools

import pytest
import torch

from harness.statistics.cross_validation import FLOOR
from harness.statistics.moments import MomentAccumulator

SIZE = 6


def draw(samples, tokens, mix, seed=0, own=0.0):
    """Samples ``mix @ noise``; with ``own`` each adds correlations that no other has."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, dtype=torch.float64, generator=generator)

    return [
        normal(tokens, SIZE) @ mix.T + own * normal(tokens, 1) * normal(1, SIZE)
        for _ in range(samples)
    ]


def share(samples, *, centred=False):
    moments = MomentAccumulator(SIZE, torch.device("cpu"), centred=centred, compared=True)
    for x in samples:
        moments.add(x)
    return moments.confirmed()


def by_pairs(samples, *, centred=False):
    first = samples[0]
    origin = first.mean(0) if centred else torch.zeros(SIZE, dtype=torch.float64)
    energy = (first - origin).square().mean(0)
    scale = (energy + FLOOR * energy.mean()).rsqrt()
    rest = 1 - torch.eye(SIZE, dtype=torch.float64)
    products = [((x - origin) * scale).T @ ((x - origin) * scale) * rest for x in samples]
    pairs = itertools.permutations(products, 2)
    between = sum(float((a * b).sum()) for a, b in pairs) / (len(samples) - 1)
    return min(max(len(samples) * between / float(sum(products).square().sum()), 0), 1)


MIXED = torch.tril(torch.ones(SIZE, SIZE, dtype=torch.float64))
PLAIN = torch.eye(SIZE, dtype=torch.float64)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("own", [0.0, 2.0])
@pytest.mark.parametrize("tokens", [3, 7])
def test_it_is_the_mean_product_of_different_samples(tokens, centred, own):
    samples = [x + 3 for x in draw(5, tokens, MIXED, own=own)]
    assert share(samples, centred=centred) == pytest.approx(by_pairs(samples, centred=centred))


def test_a_long_sample_is_one_sample(monkeypatch):
    monkeypatch.setattr("harness.statistics.moments.ROWS", 3)
    samples = [x + 3 for x in draw(5, 8, MIXED, own=2.0)]
    expected = by_pairs(samples, centred=False)
    assert share(samples) == pytest.approx(expected)


def test_correlations_that_all_samples_have_are_confirmed():
    assert share(draw(8, 2000, MIXED)) > 0.99


def test_chance_is_not_confirmed():
    shares = [share(draw(8, 20, PLAIN, seed)) for seed in range(40)]
    assert sum(shares) / 40 < 0.2


def test_what_each_sample_has_of_its_own_is_not_confirmed():
    shared, own = draw(6, 200, MIXED), draw(6, 200, PLAIN, own=4.0)
    assert share(own) < 0.5 < share(shared)


def test_more_samples_confirm_more():
    few, many = (
        sum(share(draw(count, 30, MIXED, seed, own=3.0)) for seed in range(20)) for count in (3, 60)
    )
    assert few < many


def test_neither_order_nor_unit_matter_much():
    samples = draw(6, 50, MIXED, own=1.0)
    expected = share(samples)
    assert share([1e-6 * x for x in samples]) == pytest.approx(expected)
    assert share(samples[::-1]) == pytest.approx(expected, abs=0.1)


def test_one_sample_confirms_nothing_and_no_correlation_needs_none():
    x = draw(1, 30, MIXED)
    assert share(x) == 0
    assert share([*x, x[0][:0]]) == 0  # an empty sample is none
    assert share([torch.zeros(4, SIZE).double()] * 3) == 1


def test_a_constant_channel_is_harmless():
    samples = draw(4, 100, MIXED)
    for x in samples:
        x[:, 2] = 0
    assert 0.5 < share(samples) <= 1
