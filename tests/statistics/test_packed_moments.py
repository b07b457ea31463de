"""Folded moments take half the memory and come back to the last bit."""

from __future__ import annotations

import pytest
import torch

from harness.algebra.packed import add_gram, pack, packed_zeros, unpack
from harness.statistics.block_statistics import BackwardStatistics, BlockStatistics
from harness.statistics.moments import Moments
from harness.statistics.packed_moments import PackedMoments, packed, unpacked


def symmetric(size, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, dtype=dtype, generator=generator)
    return mix + mix.T


def moments(size, seed=0):
    S = symmetric(size, seed)
    return Moments(seed, S, S[0], S[0].abs())


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_folded_matrix_comes_back_to_the_last_bit(size, dtype):
    S = symmetric(size, dtype=dtype)
    kept = S.clone()
    half = pack(S)
    assert half.shape == (size // 2 + 1, size)
    assert half.dtype == dtype
    assert torch.equal(unpack(half), kept)
    assert torch.equal(S, kept)


def test_every_number_of_a_triangle_is_kept_once():
    size = 9
    numbers = torch.arange(size * size).reshape(size, size).double()
    S = numbers.triu() + numbers.triu(1).T
    rows, columns = torch.triu_indices(size, size)
    assert sorted(pack(S).flatten().tolist()) == sorted(S[rows, columns].tolist())


def test_what_is_no_number_stays_where_it_was():
    S = symmetric(6)
    S[1, 5] = S[5, 1] = float("nan")
    S[4, 5] = S[5, 4] = float("inf")
    assert torch.equal(unpack(pack(S)).nan_to_num(7), S.nan_to_num(7))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 11, 30])
@pytest.mark.parametrize("tokens", [1, 7])
def test_products_are_added_in_place(size, tokens):
    generator = torch.Generator().manual_seed(size)
    x, y = torch.randn(2, tokens, size, dtype=torch.float64, generator=generator)
    total = packed_zeros(size, x.device)
    add_gram(total, x)
    add_gram(total, y.float())
    torch.testing.assert_close(unpack(total), x.T @ x + y.T @ y, rtol=1e-6, atol=1e-6)
    assert total.dtype == torch.float64


def test_a_folded_mapping_reads_as_the_one_it_was_made_of():
    plain = {"up": moments(5, 1), "down": moments(6, 2)}
    held = packed(plain)
    assert list(held) == list(plain)
    assert len(held) == 2
    assert packed(held) is held
    for role, one in plain.items():
        assert held[role].count == one.count
        for part in ("second", "mean", "magnitude"):
            assert torch.equal(getattr(held[role], part), getattr(one, part))
    with pytest.raises(KeyError):
        held["gate"]


def test_a_block_is_unfolded_once():
    block = BlockStatistics(
        packed({"mlp_input": moments(4)}),
        backward=BackwardStatistics(packed({"up": moments(3)}), {}, torch.zeros(3)),
    )
    turn = unpacked(block)
    assert turn.moments["mlp_input"].second is turn.moments["mlp_input"].second
    assert torch.equal(turn.backward.gradients["up"].second, block.backward.gradients["up"].second)
    assert isinstance(block.moments, PackedMoments)
    assert unpacked(BlockStatistics({})).backward is None
