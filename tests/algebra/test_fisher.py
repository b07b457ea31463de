"""Probes of the Fisher information against the sum over all signs, and over all labels."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from harness.algebra.fisher import probe, random_signs

NUMBERS = st.floats(-30, 30)


def every_sign(vocabulary):
    return torch.tensor(list(itertools.product((-1, 1), repeat=vocabulary)), dtype=torch.int8)


def fisher_of_all_labels(logits):
    """``sum_v p_v g_v g_v^T`` with the gradient of the log loss of each label, by autograd."""
    logits = logits.double().requires_grad_()
    p = logits.detach().softmax(-1)
    total = torch.zeros(len(p), len(p), dtype=torch.float64)
    for label, weight in enumerate(p):
        loss = F.cross_entropy(logits, torch.tensor(label))
        (g,) = torch.autograd.grad(loss, logits)
        total += weight * torch.outer(g, g)
    return total


@given(st.lists(NUMBERS, min_size=1, max_size=7))
def test_over_all_signs_the_second_moment_is_the_fisher_information(numbers):
    logits, signs = torch.tensor(numbers, dtype=torch.float64), every_sign(len(numbers))
    u = probe(logits.expand(len(signs), -1), signs)
    torch.testing.assert_close(
        u.T @ u / len(signs), fisher_of_all_labels(logits), rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(u.sum(-1), torch.zeros(len(u), dtype=u.dtype), atol=1e-12, rtol=0)


@given(st.lists(NUMBERS, min_size=2, max_size=6), st.sampled_from([torch.float16, torch.bfloat16]))
def test_half_precision_is_computed_in_float32(numbers, dtype):
    logits, signs = torch.tensor([numbers], dtype=dtype), every_sign(len(numbers))[:1]
    u = probe(logits, signs)
    assert u.dtype == torch.float32
    torch.testing.assert_close(u, probe(logits.double(), signs).float(), rtol=1e-4, atol=1e-6)


def test_a_certain_prediction_sends_nothing_and_a_missing_label_is_none():
    signs = every_sign(3)
    certain = torch.tensor([0.0, -torch.inf, -torch.inf]).expand(len(signs), -1)
    assert not probe(certain, signs).any()
    two = probe(torch.tensor([1.0, 1.0, -torch.inf]).expand(len(signs), -1), signs)
    assert not two[:, 2].any()
    torch.testing.assert_close(two[:, 0].square().mean(), torch.tensor(0.25))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_no_number_stays_none(bad):
    assert not torch.isfinite(probe(torch.tensor([[0.0, bad]]), every_sign(2)[:1])).any()


def test_signs_repeat_with_their_generator_and_are_fair():
    first, again = (random_signs(64, 501, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.dtype == torch.int8
    assert set(first.unique().tolist()) == {-1, 1}
    assert abs(first.double().mean()) < 4 / (64 * 501) ** 0.5
    # Neither positions nor labels know of one another.
    for one in (first.double(), first.double().T):
        products = one @ one.T / one.shape[1]
        assert products.fill_diagonal_(0).abs().max() < 6 / one.shape[1] ** 0.5
