"""Ranks fill the parameter budget and never pass it."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.algebra.ranks import Junction, factor_parameters, has_identity, rank_for
from harness.errors import UsageError
from tests.helpers.oracles import properties

JUNCTIONS: list[Junction] = [
    "left",
    "right",
    "symmetric",
    "block-identity",
    "block-identity-output",
]
HUNDREDTHS = range(100)


def stored(d_out: int, d_in: int, rank: int, junction: str) -> int:
    """Numbers in two factors; an identity block of ``rank^2`` is not stored."""
    return rank * d_out + rank * d_in - (rank**2 if "identity" in junction else 0)


def by_search(d_out: int, d_in: int, keep: Fraction, junction: str) -> int:
    fitting = [
        rank
        for rank in range(1, min(d_out, d_in) + 1)
        if stored(d_out, d_in, rank, junction) <= keep * d_out * d_in
    ]
    return max(fitting, default=0)


@pytest.mark.parametrize("junction", JUNCTIONS)
@pytest.mark.parametrize(
    ("d_out", "d_in"), [(1, 1), (8, 8), (7, 13), (13, 7), (3, 200), (64, 48), (100, 100)]
)
def test_rank_is_the_largest_that_fits(d_out: int, d_in: int, junction: Junction) -> None:
    for percent in HUNDREDTHS:
        wanted = by_search(d_out, d_in, Fraction(100 - percent, 100), junction)
        if wanted == 0:
            with pytest.raises(UsageError, match="--ratio"):
                rank_for((d_out, d_in), 1 - percent / 100, junction)
        else:
            assert rank_for((d_out, d_in), 1 - percent / 100, junction) == wanted, percent


@properties
@given(
    d_out=st.integers(1, 20000),
    d_in=st.integers(1, 20000),
    percent=st.integers(0, 99),
    junction=st.sampled_from(JUNCTIONS),
)
def test_budget_is_kept_and_used_to_within_one_rank(
    d_out: int, d_in: int, percent: int, junction: Junction
) -> None:
    budget = Fraction(100 - percent, 100) * d_out * d_in
    try:
        rank = rank_for((d_out, d_in), 1 - percent / 100, junction)
    except UsageError:
        assert stored(d_out, d_in, 1, junction) > budget
        return
    assert stored(d_out, d_in, rank, junction) <= budget
    assert rank == min(d_out, d_in) or stored(d_out, d_in, rank + 1, junction) > budget


@pytest.mark.parametrize("percent", [10, 20, 30, 50, 90])
@pytest.mark.parametrize("size", [100, 576, 4096])
def test_a_square_layer_has_the_closed_forms(size: int, percent: int) -> None:
    p = percent / 100
    assert rank_for((size, size), 1 - p, "left") == (100 - percent) * size // 200
    identity = rank_for((size, size), 1 - p, "block-identity")
    assert identity == math.floor(size * (1 - math.sqrt(p)))


def test_published_example_at_one_tenth() -> None:
    assert rank_for((1000, 1000), 0.9, "block-identity") == 683
    assert rank_for((1000, 1000), 0.9, "left") == 450


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (9, 5)])
def test_removing_nothing_keeps_full_rank_where_it_costs_nothing(shape: tuple[int, int]) -> None:
    for junction in ("block-identity", "block-identity-output"):
        rank = rank_for(shape, 1.0, junction)
        assert rank == min(shape)
        assert factor_parameters(shape, rank, junction) == shape[0] * shape[1]
    assert rank_for(shape, 1.0, "left") == shape[0] * shape[1] // sum(shape)


def test_parameters_are_counted_by_form() -> None:
    for junction in JUNCTIONS:
        assert factor_parameters((7, 11), 3, junction) == stored(7, 11, 3, junction)
        assert has_identity(junction) == ("identity" in junction)


def test_no_rank_left_names_the_layer() -> None:
    with pytest.raises(UsageError, match="4 x 4"):
        rank_for((4, 4), 0.1, "left")
