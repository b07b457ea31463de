"""Moments by streaming are the moments of all tokens at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import NonFiniteError, UsageError
from harness.statistics.moments import ROWS, MomentAccumulator, Moments

CPU = torch.device("cpu")
SIZE = 6


def tokens(seed: int, count: int, scale: float = 1.0) -> Tensor:
    values = np.random.default_rng(seed).standard_normal((count, SIZE))
    return torch.from_numpy(scale * (values * np.logspace(0, -2, SIZE) + 0.5))


def stream(x: Tensor, sizes: list[int]) -> MomentAccumulator:
    accumulator = MomentAccumulator(SIZE, CPU)
    for chunk in x.split(sizes):
        accumulator.add(chunk)
    return accumulator


def assert_moments(found: Moments, x: Tensor, rtol: float) -> None:
    X = x.double().numpy()
    assert found.count == len(X)
    np.testing.assert_allclose(found.second, X.T @ X / len(X), rtol=rtol)
    np.testing.assert_allclose(found.mean, X.mean(0), rtol=rtol)
    np.testing.assert_allclose(found.magnitude, np.abs(X).mean(0), rtol=rtol)
    for value in (found.second, found.mean, found.magnitude):
        assert value.dtype == torch.float64


@pytest.mark.parametrize("sizes", [[101], [1] * 101, [3, 0, 17, 1, 80], [50, 51]])
def test_odd_chunks_give_the_moments_of_the_whole(sizes: list[int]) -> None:
    x = tokens(1, 101)
    assert_moments(stream(x, sizes).moments(), x, 1e-13)


@settings(derandomize=True, max_examples=25, deadline=None, database=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), seed=st.integers(0, 100))
def test_any_way_of_cutting_gives_the_same_moments(cuts: list[int], seed: int) -> None:
    x = tokens(seed, 60)
    edges = [0, *sorted(cuts), 60]
    sizes = [after - before for before, after in pairwise(edges)]
    assert_moments(stream(x, sizes).moments(), x, 1e-12)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 1e-5), (torch.float16, 1e-5)],
)
def test_low_precision_tokens_are_summed_in_higher_precision(
    dtype: torch.dtype, tolerance: float
) -> None:
    """Against the double precision moments of the rounded tokens themselves."""
    x = tokens(2, 4000).to(dtype)
    assert_moments(stream(x, [1000] * 4).moments(), x, tolerance)


def test_half_precision_tokens_do_not_overflow() -> None:
    x = torch.full((3000, SIZE), 6e4, dtype=torch.float16)
    found = stream(x, [1500, 1500]).moments()
    assert_moments(found, x, 2e-5)


def test_covariance_is_centred() -> None:
    x = tokens(3, 500)
    found = stream(x, [250, 250]).moments().covariance()
    np.testing.assert_allclose(found, np.cov(x.numpy().T, bias=True), rtol=1e-10, atol=1e-12)
    assert float(torch.linalg.eigvalsh(found).min()) > 0


def test_more_tokens_than_are_added_at_a_time_give_the_same_moments() -> None:
    x = tokens(10, 2 * ROWS + 3)
    assert_moments(stream(x, [len(x)]).moments(), x, 1e-12)


def test_a_non_finite_token_far_behind_is_not_counted_with_what_is_before_it() -> None:
    accumulator = stream(tokens(5, 10), [10])
    bad = tokens(6, ROWS + 4)
    bad[-1, 0] = float("nan")
    with pytest.raises(NonFiniteError):
        accumulator.add(bad)
    assert_moments(accumulator.moments(), tokens(5, 10), 1e-13)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_non_finite_token_is_refused_and_not_counted(dtype: torch.dtype, poison: float) -> None:
    accumulator = stream(tokens(5, 10), [10])
    bad = tokens(6, 4).to(dtype)
    bad[2, 1] = poison
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        accumulator.add(bad)
    assert_moments(accumulator.moments(), tokens(5, 10), 1e-13)


def test_no_token_at_all_is_an_error() -> None:
    empty = MomentAccumulator(SIZE, CPU)
    with pytest.raises(UsageError, match="longer calibration"):
        empty.moments()
    empty.add(torch.zeros(0, SIZE))
    with pytest.raises(UsageError):
        empty.moments()


def test_moments_do_not_change_when_more_tokens_come() -> None:
    accumulator = stream(tokens(7, 20), [20])
    before = accumulator.moments()
    kept = before.second.clone()
    accumulator.add(tokens(8, 20))
    assert torch.equal(before.second, kept)


def test_tokens_are_left_alone() -> None:
    x = tokens(9, 10)
    copy = x.clone()
    stream(x, [4, 6])
    assert torch.equal(x, copy)


@pytest.mark.parametrize("offset", [10.0, 1000.0])
def test_the_covariance_survives_means_large_against_the_spread(offset):
    x = (tokens(3, 600) + offset).float()
    expected = np.cov(x.double().numpy(), rowvar=False, bias=True)
    found = stream(x, [70, 130, 90, 310]).moments().covariance().numpy()
    assert np.abs(found - expected).max() < 1e-6 * expected.max()
