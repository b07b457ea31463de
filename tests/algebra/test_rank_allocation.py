"""Ranks from one budget, against exhaustive search by dynamic programming."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.algebra.rank_allocation import allocate, discarded
from harness.algebra.rank_curves import Offer, either, named, offer, together, unit_offer
from harness.algebra.ranks import factor_parameters, rank_for
from harness.errors import NonFiniteError, UsageError

JUNCTIONS = st.sampled_from(["left", "block-identity"])
# Energies near the end of the range would lose digits when a unit changes.
ENERGIES = st.lists(st.just(0.0) | st.floats(1e-100, 100), min_size=12, max_size=12)


@st.composite
def problems(draw):
    """A few small layers and a budget that buys at least the lowest rank of each."""
    offers = {}
    for name in range(draw(st.integers(1, 4))):
        shape = draw(st.integers(2, 6)), draw(st.integers(2, 6))
        energies = sorted(draw(ENERGIES)[: min(shape)], reverse=draw(st.booleans()))
        losses = discarded(torch.tensor(energies, dtype=torch.float64))
        offers[name] = offer(losses, shape, draw(JUNCTIONS), draw(st.integers(1, 3)))
    least = sum(one.prices[0] for one in offers.values())
    most = sum(one.prices[-1] for one in offers.values())
    return offers, draw(st.integers(least, most + 5))


def price(offers, ranks):
    return sum(one.prices[one.ranks.index(ranks[key])] for key, one in offers.items())


def loss(offers, ranks):
    return sum(one.losses[one.ranks.index(ranks[key])] for key, one in offers.items())


def least_loss(offers, budget):
    """Exact: the least loss for every total price, layer by layer."""
    best = {0: 0.0}
    for one in offers.values():
        following = {}
        for paid, lost in best.items():
            for cost, more in zip(one.prices, one.losses, strict=True):
                if paid + cost <= budget:
                    total = paid + cost
                    following[total] = min(following.get(total, float("inf")), lost + more)
        best = following
    return min(best.values())


def least_hull(one):
    """Lower convex hull of prices and losses by brute force over pairs."""
    points = list(zip(one.prices, one.losses, strict=True))

    def under(point):
        between = [point[1]]
        for a, b in itertools.combinations(points, 2):
            if a[0] <= point[0] <= b[0]:
                share = (point[0] - a[0]) / (b[0] - a[0])
                between.append(a[1] + share * (b[1] - a[1]))
        return min(between)

    return [point for point in points if point[1] <= under(point) + 1e-9]


@given(problems())
def test_never_over_budget_and_nothing_more_fits(problem):
    offers, budget = problem
    ranks = allocate(offers, budget)
    left = budget - price(offers, ranks)
    assert left >= 0
    for key, one in offers.items():
        position = one.ranks.index(ranks[key])
        for i in range(position + 1, len(one.ranks)):
            gains = one.losses[i] < one.losses[position]
            assert not gains or one.prices[i] - one.prices[position] > left


@given(problems())
def test_within_one_step_of_the_exact_optimum(problem):
    offers, budget = problem
    found, exact = loss(offers, allocate(offers, budget)), least_loss(offers, budget)
    steps = [
        a[1] - b[1]
        for one in offers.values()
        for a, b in itertools.pairwise(sorted(set(least_hull(one))))
    ]
    assert exact - 1e-9 <= found <= exact + max(steps, default=0) + 1e-9


@given(problems(), st.floats(1e-3, 1e2))
def test_exact_where_one_multiplier_decides_all(problem, multiplier):
    offers, _ = problem
    wanted = {
        key: min(
            one.ranks,
            key=lambda r, one=one: (
                one.losses[one.ranks.index(r)] + multiplier * one.prices[one.ranks.index(r)],
                r,
            ),
        )
        for key, one in offers.items()
    }
    budget = price(offers, wanted)
    found = loss(offers, allocate(offers, budget))
    assert found == pytest.approx(least_loss(offers, budget), abs=1e-9)
    assert found == pytest.approx(loss(offers, wanted), abs=1e-9)


@given(problems(), st.integers(-20, 20))
def test_the_unit_of_the_loss_does_not_matter(problem, exponent):
    offers, budget = problem
    unit = 2.0**exponent  # exact in floating point
    scaled = {
        key: Offer(one.ranks, one.prices, tuple(unit * lost for lost in one.losses))
        for key, one in offers.items()
    }
    assert allocate(scaled, budget) == allocate(offers, budget)


@pytest.mark.parametrize("junction", ["left", "block-identity"])
def test_equal_layers_get_about_equal_ranks(junction):
    losses = discarded(torch.logspace(0, -3, 40, dtype=torch.float64))
    offers = {name: offer(losses, (40, 60), junction) for name in range(5)}
    ranks = allocate(offers, round(0.6 * 5 * 40 * 60))
    uniform = rank_for((40, 60), 0.6, junction)
    assert all(abs(rank - uniform) <= 1 for rank in ranks.values())


def test_a_layer_that_loses_nothing_gets_the_least():
    losses = {
        "idle": torch.zeros(9, dtype=torch.float64),
        "busy": discarded(torch.ones(8, dtype=torch.float64)),
    }
    offers = {name: offer(lost, (8, 8), "block-identity") for name, lost in losses.items()}
    assert allocate(offers, 15 + 64) == {"idle": 1, "busy": 8}


@pytest.mark.parametrize("junction", ["left", "block-identity"])
def test_an_offer_costs_what_is_stored_and_ends_with_the_dense_layer(junction):
    one = offer(discarded(torch.ones(6, dtype=torch.float64)), (6, 9), junction)
    assert one.ranks[-1] == 6
    assert one.prices[-1] == 54
    assert one.losses[-1] == 0
    assert list(one.prices) == sorted(set(one.prices))
    stored = [factor_parameters((6, 9), rank, junction) for rank in one.ranks[:-1]]
    assert list(one.prices[:-1]) == stored
    assert list(one.losses[:-1]) == [6 - rank for rank in one.ranks[:-1]]
    # Plain factors of rank 4 and 5 would be larger than the layer itself.
    assert one.ranks == ((1, 2, 3, 6) if junction == "left" else (1, 2, 3, 4, 5, 6))


@pytest.mark.parametrize("junction", ["left", "block-identity"])
@pytest.mark.parametrize("multiple", [1, 2, 3, 7, 100])
def test_multiples_are_what_remains_of_all_ranks(junction, multiple):
    losses = discarded(torch.rand(16, dtype=torch.float64))
    every, some = (offer(losses, (16, 24), junction, one) for one in (1, multiple))
    points = zip(every.ranks, every.prices, every.losses, strict=True)
    expected = [point for point in points if point[0] % multiple == 0 or point[0] == 16]
    assert list(zip(some.ranks, some.prices, some.losses, strict=True)) == expected


@given(problems(), st.integers(1, 4))
def test_ranks_are_multiples_or_the_layer_stays_dense(problem, multiple):
    offers, budget = problem
    shapes = {name: (3 + name, 7) for name in offers}
    losses = {name: torch.arange(shape[0], -1.0, -1) for name, shape in shapes.items()}
    offers = {
        name: offer(losses[name], shape, "block-identity", multiple)
        for name, shape in shapes.items()
    }
    least = sum(one.prices[0] for one in offers.values())
    ranks = allocate(offers, least + budget)
    assert price(offers, ranks) <= least + budget
    for name, rank in ranks.items():
        assert rank % multiple == 0 or rank == min(shapes[name])


@pytest.mark.parametrize(("multiple", "lowest", "needed"), [(1, 1, 16), (2, 4, 32), (64, 4, 32)])
def test_a_budget_below_all_lowest_ranks_says_what_is_needed(multiple, lowest, needed):
    # Plain factors of rank 2 are as large as the layer, which then stays dense.
    offers = {name: offer(torch.ones(5), (4, 4), "left", multiple) for name in "ab"}
    expected = (
        rf"^{needed - 1} parameters do not buy the lowest rank of every layer, {needed} do; "
        r"use a smaller --ratio, or --multiple if one is set$"
    )
    with pytest.raises(UsageError, match=expected):
        allocate(offers, needed - 1)
    assert allocate(offers, needed) == {"a": lowest, "b": lowest}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_losses_that_are_no_numbers_are_refused(value):
    losses = torch.tensor([3.0, value, 0.0])
    with pytest.raises(NonFiniteError, match="estimated losses"):
        offer(losses, (2, 2), "left")


@given(problems())
def test_several_layers_together_offer_the_corners_of_their_sum(problem):
    offers, _ = problem
    one = together([named(each, name) for name, each in offers.items()])
    assert list(one.prices) == sorted(set(one.prices))
    assert one.ranks[0] == {name: each.ranks[0] for name, each in offers.items()}
    assert one.ranks[-1] == {name: each.ranks[-1] for name, each in offers.items()}
    for ranks, cost, lost in zip(one.ranks, one.prices, one.losses, strict=True):
        assert cost == price(offers, ranks)
        assert lost == pytest.approx(loss(offers, ranks))
        # What a corner costs buys nothing better.
        assert lost <= least_loss(offers, cost) + 1e-9 * (1 + lost)


@given(problems(), problems())
def test_of_two_ways_the_one_that_loses_less_is_taken(first, second):
    one, other = (
        together([named(each, name) for name, each in offers.items()])
        for offers, _ in (first, second)
    )
    both = either(one, other)
    assert list(both.prices) == sorted(set(both.prices))
    assert (both.prices[-1], both.ranks[-1]) == (one.prices[-1], one.ranks[-1])
    for budget in one.prices[:-1]:
        points = [
            lost
            for way in (one, other)
            for cost, lost in zip(way.prices, way.losses, strict=True)
            if cost <= budget
        ]
        affordable = sum(cost <= budget for cost in both.prices)
        assert min(both.losses[:affordable]) == min(points)


def test_units_have_one_price():
    one = unit_offer(torch.tensor([9.0, 5.0, 3.0, 1.0, 0.5, 0.0]), 7, multiple=2)
    assert (one.ranks, one.prices, one.losses) == ((2, 4, 5), (14, 28, 35), (3.0, 0.5, 0.0))
    with pytest.raises(NonFiniteError):
        unit_offer(torch.tensor([float("nan"), 0.0]), 7)
