"""Averages over rotary offsets, against transformers' own rotation and explicit loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from harness.algebra.rotary import (
    _average,
    average_key_moment,
    average_query_moment,
    rotations,
)
from tests.helpers.oracles import Array, array, gaussian, tensor

SIZE, HEADS, LENGTH = 8, 3, 24


def embedding() -> LlamaRotaryEmbedding:
    config = LlamaConfig(
        hidden_size=SIZE * HEADS, num_attention_heads=HEADS, max_position_embeddings=LENGTH
    )
    return LlamaRotaryEmbedding(config).double()


def rotated(x: Array) -> Array:
    """``x: [length, size]`` at positions 0, 1, ... as transformers turns it."""
    states = tensor(x)[None, None]
    cos, sin = embedding()(states, torch.arange(len(x))[None])
    return array(apply_rotary_pos_emb(states, states, cos, sin)[0][0, 0])


def matrices(offsets: list[int]) -> Array:
    return array(rotations(embedding().inv_freq.double(), torch.tensor(offsets)))


def test_rotations_are_those_of_transformers() -> None:
    x = gaussian(1, LENGTH, SIZE)
    R = matrices(list(range(LENGTH)))
    np.testing.assert_allclose(np.einsum("tab,tb->ta", R, x), rotated(x), atol=1e-6)


def test_rotations_form_a_group() -> None:
    R = matrices([0, 3, -3, 5, 8])
    np.testing.assert_allclose(R[0], np.eye(SIZE), atol=1e-15)
    np.testing.assert_allclose(R[1] @ R[2], np.eye(SIZE), atol=1e-14)
    np.testing.assert_allclose(R[1] @ R[3], R[4], atol=1e-13)


@pytest.mark.parametrize("t", [0, 1, 7, 20])
def test_a_key_that_many_tokens_before_the_query_appears_turned_backwards(t: int) -> None:
    query, key = gaussian(2, 2, SIZE)
    wanted = query @ matrices([-t])[0] @ key
    for position in range(t, LENGTH):
        queries = np.tile(query, (LENGTH, 1))
        keys = np.tile(key, (LENGTH, 1))
        score = rotated(queries)[position] @ rotated(keys)[position - t]
        assert score == pytest.approx(wanted, abs=1e-5)


def test_the_sign_of_the_offset_matters() -> None:
    query, key = gaussian(2, 2, SIZE)
    assert abs(query @ (matrices([-7])[0] - matrices([7])[0]) @ key) > 0.1


def symmetric(seed: int, heads: int, rank: int = SIZE) -> Array:
    X = gaussian(seed, heads, SIZE, rank)
    return X @ X.transpose(0, 2, 1)


@pytest.mark.parametrize("window", [1, 2, 10])
def test_moments_are_averaged_over_causal_offsets(window: int) -> None:
    """Keys within ``window`` tokens before the query, moments of what transformers computes."""
    frequencies = embedding().inv_freq.double()
    heads = gaussian(3, HEADS, SIZE, 4)
    keys = np.zeros((HEADS, SIZE, SIZE))
    queries = np.zeros((HEADS, SIZE, SIZE))
    for i, X in enumerate(heads):
        for t in range(window):
            R = matrices([-t])[0]
            keys[i] += R @ X @ X.T @ R.T / window
            queries[i] += R.T @ X @ X.T @ R / window
    moment = tensor(heads @ heads.transpose(0, 2, 1))
    np.testing.assert_allclose(
        array(average_key_moment(moment, frequencies, window)), keys, atol=1e-12
    )
    np.testing.assert_allclose(
        array(average_query_moment(moment, frequencies, window)), queries, atol=1e-12
    )


@pytest.mark.parametrize("window", [10, "all"])
def test_the_averages_are_adjoint_so_both_sides_see_one_loss(window: object) -> None:
    frequencies = embedding().inv_freq.double()
    M, N = tensor(symmetric(4, 2)), tensor(symmetric(5, 2))
    left = (average_key_moment(M, frequencies, window) * N).sum()
    right = (M * average_query_moment(N, frequencies, window)).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-12)


def test_without_rotation_nothing_is_averaged() -> None:
    M = tensor(symmetric(6, 2))
    for window in (1, 10, "all"):
        assert torch.equal(average_key_moment(M, None, window), M)
        assert torch.equal(average_query_moment(M, None, window), M)


def test_the_infinite_window_is_the_limit_of_long_ones() -> None:
    """Irrational frequencies, so that no two offsets coincide."""
    frequencies = torch.sqrt(torch.tensor([2.0, 3.0, 5.0, 7.0], dtype=torch.float64))
    M = tensor(symmetric(7, 1))
    limit = average_key_moment(M, frequencies, "all")
    distance = [
        float((_average(M, frequencies, window, -1) - limit).norm() / M.norm())
        for window in (40, 400, 4000)
    ]
    assert distance[2] < 2e-3
    assert distance[2] < distance[1] / 3 < distance[0] / 9


def test_the_infinite_window_projects_onto_what_commutes_with_every_rotation() -> None:
    M = tensor(symmetric(8, 2))
    limit = average_key_moment(M, embedding().inv_freq.double(), "all")
    for R in rotations(embedding().inv_freq.double(), torch.tensor([1, 2, 17])):
        torch.testing.assert_close(R @ limit @ R.T, limit)
    torch.testing.assert_close(
        average_key_moment(limit, embedding().inv_freq.double(), "all"), limit
    )
    assert float((limit * (M - limit)).sum()) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("window", [10, "all"])
def test_averages_stay_symmetric_positive_and_keep_the_trace(window: object) -> None:
    M = tensor(symmetric(9, 3, rank=2))
    for average in (average_key_moment, average_query_moment):
        out = average(M, embedding().inv_freq, window)
        torch.testing.assert_close(out, out.mT)
        assert float(torch.linalg.eigvalsh(out).min()) > -1e-10
        torch.testing.assert_close(
            out.diagonal(dim1=1, dim2=2).sum(1), M.diagonal(dim1=1, dim2=2).sum(1)
        )
