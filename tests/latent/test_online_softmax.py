"""Attention in parts against attention at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.latent.online_softmax import attend


def normal(generator, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def in_parts(keys, values, step):
    return zip(keys.split(step, 2), values.split(step, 2), strict=True)


def at_once(query, keys, values, mask):
    heads = query.shape[1]
    keys, values = (t.repeat_interleave(heads // t.shape[1], 1) for t in (keys, values))
    scores = torch.einsum("bhnd,bhtd->bhnt", query, keys)
    if mask is not None:
        bias = torch.zeros(mask.shape, dtype=scores.dtype).masked_fill(~mask, -torch.inf)
        scores = scores + bias
    weights = torch.softmax(scores, -1)
    return torch.einsum("bhnt,bhte->bhne", weights, values), weights


@given(
    seed=st.integers(0, 10**6),
    shared=st.sampled_from([(1, 1), (2, 1), (1, 4), (2, 4), (4, 4)]),
    queries=st.integers(1, 3),
    tokens=st.integers(1, 9),
    step=st.integers(1, 10),
    scale=st.sampled_from([0.01, 1.0, 300.0]),
    masking=st.sampled_from(["none", "boolean", "added", "infinite"]),
)
def test_parts_make_the_whole(seed, shared, queries, tokens, step, scale, masking):
    generator = torch.Generator().manual_seed(seed)
    query = normal(generator, 2, 4, queries, 5, scale=scale)
    keys = normal(generator, 2, shared[0], tokens, 5)
    values = normal(generator, 2, shared[1], tokens, 3)
    mask = None
    if masking != "none":
        mask = torch.rand(2, 1, queries, tokens, generator=generator) < 0.5
        mask[..., seed % tokens] = True
    given_mask = mask
    if masking in {"added", "infinite"}:
        low = torch.finfo(torch.float32).min if masking == "added" else -torch.inf
        given_mask = torch.zeros(mask.shape).masked_fill(~mask, low)
    expected, expected_weights = at_once(query, keys, values, mask)
    parts = in_parts(keys, values, step)
    found, weights = attend(query, parts, given_mask, keep_weights=True)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_query_that_sees_nothing_gets_a_number(dtype, step):
    generator = torch.Generator().manual_seed(0)
    query, keys, values = (normal(generator, 1, 2, n, 3).to(dtype) for n in (1, 5, 5))
    nothing = torch.zeros(1, 1, 1, 5, dtype=torch.bool)
    added = torch.zeros(1, 1, 1, 5, dtype=dtype).masked_fill(~nothing, torch.finfo(dtype).min)
    for mask in (nothing, added, torch.full_like(added, -torch.inf)):
        found, _ = attend(query, in_parts(keys, values, step), mask)
        assert found.isfinite().all()
        assert found.dtype == dtype


@pytest.mark.parametrize("step", [1000, 4000])
def test_the_mean_of_large_values_fits_in_half_precision(step):
    query = torch.zeros(1, 1, 1, 2, dtype=torch.float16)
    keys = torch.zeros(1, 1, 4000, 2, dtype=torch.float16)
    values = torch.full((1, 1, 4000, 1), 1000.0, dtype=torch.float16)
    found, _ = attend(query, in_parts(keys, values, step), None)
    torch.testing.assert_close(found, values[:, :, :1], rtol=1e-2, atol=0)
