"""The token sample is the same however the stream is cut, and never too large."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics.sample import TokenSample


def positions(sample: TokenSample) -> list[int]:
    return [int(value) for value in sample.tokens()[:, 0]]


def fed(capacity: int, sizes: list[int]) -> TokenSample:
    sample = TokenSample(capacity)
    stream = torch.arange(sum(sizes), dtype=torch.float64)[:, None].repeat(1, 2)
    for chunk in stream.split(sizes):
        sample.add(chunk)
    return sample


def expected(capacity: int, count: int) -> list[int]:
    stride = 1
    while len(range(0, count, stride)) > capacity:
        stride *= 2
    return list(range(0, count, stride))


@settings(derandomize=True, max_examples=60, deadline=None, database=None)
@given(capacity=st.integers(1, 20), sizes=st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_any_batching_keeps_every_stride_th_token(capacity: int, sizes: list[int]) -> None:
    kept = positions(fed(capacity, sizes))
    assert kept == expected(capacity, sum(sizes))
    assert len(kept) <= capacity
    assert kept == positions(fed(capacity, [sum(sizes)]))
    assert kept == positions(fed(capacity, [1] * sum(sizes) or [0]))


@pytest.mark.parametrize(
    ("count", "stride"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 4), (32, 4), (33, 8), (1000, 128)]
)
def test_the_stride_doubles_when_capacity_is_passed(count: int, stride: int) -> None:
    sample = fed(8, [count])
    assert sample.stride == stride
    assert positions(sample) == list(range(0, count, stride))


def test_at_least_half_the_capacity_is_used() -> None:
    for count in range(8, 300):
        assert 4 < len(positions(fed(8, [count]))) <= 8


def test_kept_tokens_are_copies() -> None:
    sample = TokenSample(10)
    tokens = torch.ones(4, 2)
    sample.add(tokens)
    tokens.zero_()
    assert bool(sample.tokens().all())


def test_all_of_a_token_is_kept() -> None:
    sample = TokenSample(3)
    tokens = torch.arange(20.0).reshape(10, 2)
    sample.add(tokens)
    assert torch.equal(sample.tokens(), tokens[::4])
