"""Ranks from one budget, against exhaustive search by dynamic programming."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.algebra.rank_allocation import allocate, discarded
from harness.algebra.rank_curves import (
    RankCurve,
    pointwise_best,
    rank_curve,
    shared_by,
    sum_curves,
    unit_curve,
)
from harness.algebra.ranks import factor_parameters, rank_for
from harness.errors import NonFiniteError, UsageError

JUNCTIONS = st.sampled_from(["left", "block-identity"])
# Energies near the end of the range would lose digits when a unit changes.
ENERGIES = st.lists(st.just(0.0) | st.floats(1e-100, 100), min_size=12, max_size=12)


@st.composite
def problems(draw):
    """A few small layers and a budget that buys at least the lowest rank of each."""
    curves = {}
    for name in range(draw(st.integers(1, 4))):
        shape = draw(st.integers(2, 6)), draw(st.integers(2, 6))
        energies = sorted(draw(ENERGIES)[: min(shape)], reverse=draw(st.booleans()))
        losses = discarded(torch.tensor(energies, dtype=torch.float64))
        curves[name] = rank_curve(losses, shape, draw(JUNCTIONS), draw(st.integers(1, 3)))
    least = sum(one.parameters[0] for one in curves.values())
    most = sum(one.parameters[-1] for one in curves.values())
    return curves, draw(st.integers(least, most + 5))


def price(curves, ranks):
    return sum(one.parameters[one.ranks.index(ranks[key])] for key, one in curves.items())


def loss(curves, ranks):
    return sum(one.losses[one.ranks.index(ranks[key])] for key, one in curves.items())


def least_loss(curves, budget):
    """Exact: the least loss for every total price, layer by layer."""
    best = {0: 0.0}
    for one in curves.values():
        following = {}
        for paid, lost in best.items():
            for cost, more in zip(one.parameters, one.losses, strict=True):
                if paid + cost <= budget:
                    total = paid + cost
                    following[total] = min(following.get(total, float("inf")), lost + more)
        best = following
    return min(best.values())


def least_hull(one):
    """Lower convex hull of prices and losses by brute force over pairs."""
    points = list(zip(one.parameters, one.losses, strict=True))

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
    curves, budget = problem
    ranks = allocate(curves, budget)
    left = budget - price(curves, ranks)
    assert left >= 0
    for key, one in curves.items():
        position = one.ranks.index(ranks[key])
        for i in range(position + 1, len(one.ranks)):
            gains = one.losses[i] < one.losses[position]
            assert not gains or one.parameters[i] - one.parameters[position] > left


@given(problems())
def test_within_one_step_of_the_exact_optimum(problem):
    curves, budget = problem
    found, exact = loss(curves, allocate(curves, budget)), least_loss(curves, budget)
    steps = [
        a[1] - b[1]
        for one in curves.values()
        for a, b in itertools.pairwise(sorted(set(least_hull(one))))
    ]
    assert exact - 1e-9 <= found <= exact + max(steps, default=0) + 1e-9


@given(problems(), st.floats(1e-3, 1e2))
def test_exact_where_one_multiplier_decides_all(problem, multiplier):
    curves, _ = problem
    wanted = {
        key: min(
            one.ranks,
            key=lambda r, one=one: (
                one.losses[one.ranks.index(r)] + multiplier * one.parameters[one.ranks.index(r)],
                r,
            ),
        )
        for key, one in curves.items()
    }
    budget = price(curves, wanted)
    found = loss(curves, allocate(curves, budget))
    assert found == pytest.approx(least_loss(curves, budget), abs=1e-9)
    assert found == pytest.approx(loss(curves, wanted), abs=1e-9)


@given(problems(), st.integers(-20, 20))
def test_the_unit_of_the_loss_does_not_matter(problem, exponent):
    curves, budget = problem
    unit = 2.0**exponent  # exact in floating point
    scaled = {
        key: RankCurve(one.ranks, one.parameters, tuple(unit * lost for lost in one.losses))
        for key, one in curves.items()
    }
    assert allocate(scaled, budget) == allocate(curves, budget)


@pytest.mark.parametrize("junction", ["left", "block-identity"])
def test_equal_layers_get_about_equal_ranks(junction):
    losses = discarded(torch.logspace(0, -3, 40, dtype=torch.float64))
    curves = {name: rank_curve(losses, (40, 60), junction) for name in range(5)}
    ranks = allocate(curves, round(0.6 * 5 * 40 * 60))
    uniform = rank_for((40, 60), 0.6, junction)
    assert all(abs(rank - uniform) <= 1 for rank in ranks.values())


def test_a_layer_that_loses_nothing_gets_the_least():
    losses = {
        "idle": torch.zeros(9, dtype=torch.float64),
        "busy": discarded(torch.ones(8, dtype=torch.float64)),
    }
    curves = {name: rank_curve(lost, (8, 8), "block-identity") for name, lost in losses.items()}
    assert allocate(curves, 15 + 64) == {"idle": 1, "busy": 8}


@pytest.mark.parametrize("junction", ["left", "block-identity"])
def test_an_offer_costs_what_is_stored_and_ends_with_the_dense_layer(junction):
    one = rank_curve(discarded(torch.ones(6, dtype=torch.float64)), (6, 9), junction)
    assert one.ranks[-1] == 6
    assert one.parameters[-1] == 54
    assert one.losses[-1] == 0
    assert list(one.parameters) == sorted(set(one.parameters))
    stored = [factor_parameters((6, 9), rank, junction) for rank in one.ranks[:-1]]
    assert list(one.parameters[:-1]) == stored
    assert list(one.losses[:-1]) == [6 - rank for rank in one.ranks[:-1]]
    # Plain factors of rank 4 and 5 would be larger than the layer itself.
    assert one.ranks == ((1, 2, 3, 6) if junction == "left" else (1, 2, 3, 4, 5, 6))


@pytest.mark.parametrize("junction", ["left", "block-identity"])
@pytest.mark.parametrize("multiple", [1, 2, 3, 7, 100])
def test_multiples_are_what_remains_of_all_ranks(junction, multiple):
    losses = discarded(torch.rand(16, dtype=torch.float64))
    every, some = (rank_curve(losses, (16, 24), junction, one) for one in (1, multiple))
    points = zip(every.ranks, every.parameters, every.losses, strict=True)
    expected = [point for point in points if point[0] % multiple == 0 or point[0] == 16]
    assert list(zip(some.ranks, some.parameters, some.losses, strict=True)) == expected


@given(problems(), st.integers(1, 4))
def test_ranks_are_multiples_or_the_layer_stays_dense(problem, multiple):
    curves, budget = problem
    shapes = {name: (3 + name, 7) for name in curves}
    losses = {name: torch.arange(shape[0], -1.0, -1) for name, shape in shapes.items()}
    curves = {
        name: rank_curve(losses[name], shape, "block-identity", multiple)
        for name, shape in shapes.items()
    }
    least = sum(one.parameters[0] for one in curves.values())
    ranks = allocate(curves, least + budget)
    assert price(curves, ranks) <= least + budget
    for name, rank in ranks.items():
        assert rank % multiple == 0 or rank == min(shapes[name])


@pytest.mark.parametrize(("multiple", "lowest", "needed"), [(1, 1, 16), (2, 4, 32), (64, 4, 32)])
def test_a_budget_below_all_lowest_ranks_says_what_is_needed(multiple, lowest, needed):
    # Plain factors of rank 2 are as large as the layer, which then stays dense.
    curves = {name: rank_curve(torch.ones(5), (4, 4), "left", multiple) for name in "ab"}
    expected = (
        rf"^{needed - 1} parameters do not buy the lowest rank of every layer, {needed} do; "
        r"use a smaller --ratio, or --multiple if one is set$"
    )
    with pytest.raises(UsageError, match=expected):
        allocate(curves, needed - 1)
    assert allocate(curves, needed) == {"a": lowest, "b": lowest}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_losses_that_are_no_numbers_are_refused(value):
    losses = torch.tensor([3.0, value, 0.0])
    with pytest.raises(NonFiniteError, match="estimated losses"):
        rank_curve(losses, (2, 2), "left")


@given(problems())
def test_several_layers_together_offer_the_corners_of_their_sum(problem):
    curves, _ = problem
    one = sum_curves([shared_by(each, name) for name, each in curves.items()])
    assert list(one.parameters) == sorted(set(one.parameters))
    assert one.ranks[0] == {name: each.ranks[0] for name, each in curves.items()}
    assert one.ranks[-1] == {name: each.ranks[-1] for name, each in curves.items()}
    for ranks, cost, lost in zip(one.ranks, one.parameters, one.losses, strict=True):
        assert cost == price(curves, ranks)
        assert lost == pytest.approx(loss(curves, ranks))
        # What a corner costs buys nothing better.
        assert lost <= least_loss(curves, cost) + 1e-9 * (1 + lost)


@given(problems(), problems())
def test_of_two_ways_the_one_that_loses_less_is_taken(first, second):
    one, other = (
        sum_curves([shared_by(each, name) for name, each in curves.items()])
        for curves, _ in (first, second)
    )
    both = pointwise_best(one, other)
    assert list(both.parameters) == sorted(set(both.parameters))
    assert (both.parameters[-1], both.ranks[-1]) == (one.parameters[-1], one.ranks[-1])
    for budget in one.parameters[:-1]:
        points = [
            lost
            for way in (one, other)
            for cost, lost in zip(way.parameters, way.losses, strict=True)
            if cost <= budget
        ]
        affordable = sum(cost <= budget for cost in both.parameters)
        assert min(both.losses[:affordable]) == min(points)


def test_units_have_one_price():
    one = unit_curve(torch.tensor([9.0, 5.0, 3.0, 1.0, 0.5, 0.0]), 7, multiple=2)
    assert (one.ranks, one.parameters, one.losses) == ((2, 4, 5), (14, 28, 35), (3.0, 0.5, 0.0))
    with pytest.raises(NonFiniteError):
        unit_curve(torch.tensor([float("nan"), 0.0]), 7)
