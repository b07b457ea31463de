"""The maps from latents to heads, applied on either side of an attention."""

from __future__ import annotations

import pytest
import torch

from tests.latent.subjects import METHODS, text_pair

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(params=METHODS)
def factors(request):
    """Key and value projections of all forms, with and without bias, and their head size."""
    found = []
    for name, size in (("opt", 8), ("llama", 8), ("qwen3", 12)):
        plain, _ = text_pair(name, request.param)
        first = plain.family.blocks(plain.model)[0].module.self_attn
        found += [(first.k_proj, size), (first.v_proj, size)]
    return found


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


@torch.no_grad()
def test_a_layer_is_its_two_maps(factors):
    for factor, _ in factors:
        x = normal(0, 2, 3, 32)
        z = factor.latent(x)
        assert z.shape == (2, 3, factor.rank)
        assert torch.equal(factor.expand(z), factor(x))
        expected = z @ factor.decompression().T
        expected = expected if factor.bias is None else expected + factor.bias
        torch.testing.assert_close(factor(x), expected, **CLOSE)
        torch.testing.assert_close(factor(x), x @ factor.dense().T + (factor(0 * x)), **CLOSE)


@torch.no_grad()
def test_queries_score_latents_as_they_score_heads(factors):
    for factor, size in factors:
        z = normal(1, 2, 5, factor.rank)
        heads = (factor.expand(z) - factor.expand(0 * z)).unflatten(-1, (-1, size)).transpose(1, 2)
        queries = normal(2, *heads.shape[:2], 3, size)
        found = factor.absorb(queries) @ z[:, None].mT
        torch.testing.assert_close(found, queries @ heads.mT, **CLOSE)


@torch.no_grad()
def test_mixed_latents_expand_to_mixed_heads(factors):
    for factor, size in factors:
        z = normal(3, 2, 5, factor.rank)
        heads = factor.expand(z).unflatten(-1, (-1, size)).transpose(1, 2)
        weights = normal(4, *heads.shape[:2], 3, 5).softmax(-1)
        found = factor.expand_heads(weights @ z[:, None])
        torch.testing.assert_close(found, weights @ heads, **CLOSE)
