"""Token perplexity against independent oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import NonFiniteError
from tasks import perplexity as module
from tasks.perplexity import cut, perplexity, perplexity_interval, window_losses

WINDOW = 32
VOCABULARY = 300


@pytest.fixture
def windows() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, 270, (9, WINDOW), generator=generator)


@given(count=st.integers(0, 200), window=st.integers(2, 50))
def test_windows_are_the_text_without_its_tail(count: int, window: int) -> None:
    tokens = torch.arange(count)
    windows = cut(tokens, window)
    assert windows.shape == (count // window, window)
    assert torch.equal(windows.flatten(), tokens[: windows.numel()])
    assert count - windows.numel() < window


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_losses_equal_a_float64_loop(subject, windows, family) -> None:
    model = subject(family, dtype=torch.float64).model
    expected = []
    for ids in windows:
        scores = torch.log_softmax(model(ids[None]).logits[0], dim=-1)
        expected.append(-sum(scores[i, ids[i + 1]] for i in range(WINDOW - 1)) / (WINDOW - 1))
    assert torch.allclose(window_losses(model, windows, 4), torch.stack(expected), rtol=1e-12)


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_losses_equal_those_of_transformers(subject, windows, family) -> None:
    model = subject(family).model
    expected = [model(ids[None], labels=ids[None]).loss.item() for ids in windows]
    assert window_losses(model, windows, 4).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("positions", [1, 7, WINDOW - 1, 1000])
def test_chunks_of_positions_change_nothing(subject, windows, monkeypatch, positions) -> None:
    model = subject("opt").model
    expected = window_losses(model, windows, 4)
    monkeypatch.setattr(module, "POSITIONS_AT_ONCE", positions)
    assert torch.allclose(window_losses(model, windows, 4), expected, rtol=1e-6)


def test_uniform_scores_give_the_vocabulary_size(subject, windows) -> None:
    model = subject("llama", dtype=torch.float64).model
    model.lm_head.weight.data.zero_()
    value, stderr = perplexity(window_losses(model, windows, 4))
    assert value == pytest.approx(model.config.vocab_size, rel=1e-6)
    assert stderr == pytest.approx(0, abs=1e-6)


def test_batch_size_does_not_matter(subject, windows) -> None:
    model = subject("llama").model
    one, four, eight = (window_losses(model, windows, size) for size in (1, 4, 8))
    assert torch.allclose(one, four, rtol=1e-5)
    assert torch.allclose(one, eight, rtol=1e-5)


def test_same_twice(subject, windows) -> None:
    model = subject("opt").model
    assert torch.equal(window_losses(model, windows, 4), window_losses(model, windows, 4))


def test_bfloat16_model_has_its_loss_in_float32(subject, windows) -> None:
    model = subject("opt", dtype=torch.bfloat16).model
    logits = model(windows).logits[:, :-1]
    assert logits.dtype == torch.bfloat16
    precise, coarse = (
        torch.nn.functional.cross_entropy(scores.flatten(0, 1), windows[:, 1:].flatten()).item()
        for scores in (logits.double(), logits)
    )
    found = window_losses(model, windows, len(windows)).mean().item()
    assert found == pytest.approx(precise, rel=1e-6)
    assert abs(coarse - precise) > 1e-4


def test_no_cache_is_built(subject, windows, monkeypatch) -> None:
    model = subject("opt").model
    forward = model.forward

    def checked(**inputs):
        assert inputs["use_cache"] is False
        return forward(**inputs)

    monkeypatch.setattr(model, "forward", checked)
    window_losses(model, windows, 4)


def test_broken_model_is_named_with_its_window(subject, windows) -> None:
    model = subject("llama").model
    windows[:3] %= 200
    windows[3:] %= 200
    windows[3, 5] = 260
    model.model.embed_tokens.weight.data[260] = math.nan
    with pytest.raises(NonFiniteError, match="window 3"):
        window_losses(model, windows, 2)


def test_standard_error_follows_the_windows() -> None:
    losses = torch.tensor([2.0, 2.5, 3.0, 2.1], dtype=torch.float64)
    value, stderr = perplexity(losses)
    assert value == pytest.approx(math.exp(2.4))
    assert stderr == pytest.approx(math.exp(2.4) * losses.std().item() / 2)
    assert perplexity(losses[:1]) == (pytest.approx(math.exp(2.0)), None)


def test_loss_beyond_floating_point_is_an_error() -> None:
    with pytest.raises(NonFiniteError, match="1000 nats"):
        perplexity(torch.tensor([1000.0], dtype=torch.float64))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    # Skewed losses: 95% of 200 samples of 24 should cover, give or take three standard errors.
    draws = torch.from_numpy(np.random.default_rng(5).gamma(4.0, 0.75, size=(200, 24)))
    found = [perplexity_interval(losses) for losses in draws]
    covered = sum(low <= math.exp(3.0) <= high for low, high in found)
    assert 200 * 0.90 <= covered <= 200 * 0.99


def test_the_interval_agrees_with_the_t_interval_where_losses_are_normal():
    losses = torch.from_numpy(np.random.default_rng(1).normal(3.0, 0.3, size=2000))
    low, high = map(math.log, perplexity_interval(losses))
    wanted = scipy.stats.t.interval(
        0.95, len(losses) - 1, losses.mean().item(), scipy.stats.sem(losses.numpy())
    )
    assert (low, high) == pytest.approx(wanted, rel=2e-3)


def test_the_interval_is_the_same_each_time():
    losses = torch.tensor([3.0, 3.5, 2.5, 4.0], dtype=torch.float64)
    assert perplexity_interval(losses) == perplexity_interval(losses)


def test_alike_losses_have_an_interval_of_no_width_and_one_has_none():
    alike = torch.full((5,), 2.0, dtype=torch.float64)
    assert perplexity_interval(alike) == (math.exp(2.0), math.exp(2.0))
    assert perplexity_interval(alike[:1]) is None


def test_an_interval_beyond_floating_point_is_refused():
    losses = torch.tensor([600.0, 700.0, 800.0, 650.0, 640.0], dtype=torch.float64)
    with pytest.raises(NonFiniteError, match="no finite perplexity"):
        perplexity_interval(losses)
