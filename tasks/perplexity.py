"""Token perplexity as the compression papers compute it.

The text is tokenised once with the tokenizer's default special tokens and cut into
non-overlapping windows, the tail dropped; the perplexity is the exponential of the mean over
windows of the mean cross-entropy of each window's ``window - 1`` targets (protocol of the
SparseGPT and SparseLLM evaluation).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from harness.plugin import NonFiniteError
from harness.support.progress import Tracker, silent

POSITIONS_AT_ONCE = 256
RESAMPLES = 9999


def cut(tokens: Tensor, window: int) -> Tensor:
    """Non-overlapping windows ``[n // window, window]`` of ``tokens`` ``[n]``, no tail."""
    count = tokens.numel() // window
    return tokens[: count * window].view(count, window)


def window_losses(
    model: PreTrainedModel, windows: Tensor, batch_size: int, track: Tracker = silent
) -> Tensor:
    """Mean cross-entropy of each window in nats.

    Args:
        model: a causal language model in evaluation mode.
        windows: token ids ``[n, window]``.
        batch_size: windows per forward pass.
        track: shows the progress over batches.

    Returns:
        float64 ``[n]`` on the CPU.

    Raises:
        NonFiniteError: the loss of a window is NaN or infinite.
    """
    losses: list[float] = []
    batches = [windows[at : at + batch_size] for at in range(0, len(windows), batch_size)]
    with torch.no_grad():
        for batch in track(batches, "perplexity", len(batches)):
            for loss in _batch_losses(model, batch.to(model.device)):
                if not math.isfinite(loss):
                    raise NonFiniteError(f"the loss of window {len(losses)} is {loss}")
                losses.append(loss)
    return torch.tensor(losses, dtype=torch.float64)


def perplexity(losses: Tensor) -> tuple[float, float | None]:
    """Perplexity of window losses ``[n]`` (nats) and its standard error.

    The error is that of the mean loss, carried through the exponential by the delta method;
    None for a single window.

    Raises:
        NonFiniteError: the perplexity exceeds the range of floating point.
    """
    value = losses.mean().exp().item()
    if not math.isfinite(value):
        raise NonFiniteError(
            f"the mean loss of {losses.mean().item():.4g} nats has no finite perplexity; pass a "
            "smaller --ratio"
        )
    if len(losses) == 1:
        return value, None
    return value, value * losses.std().item() / math.sqrt(len(losses))


def perplexity_interval(losses: Tensor) -> tuple[float, float] | None:
    """95% confidence interval of the perplexity of window losses ``[n]`` (nats).

    The windows are drawn again with replacement, always in the same way; the ends are
    bias-corrected and accelerated (Efron 1987), which keeps them right for the few, skewed
    losses of a short text. None for a single window.

    Raises:
        NonFiniteError: its upper end exceeds the range of floating point.
    """
    if len(losses) == 1:
        return None
    if bool((losses == losses[0]).all()):
        alike = losses[0].exp().item()
        return alike, alike
    interval = bootstrap(
        (losses.numpy(),), np.mean, n_resamples=RESAMPLES, batch=1000, method="BCa", rng=0
    ).confidence_interval
    try:
        return math.exp(interval.low), math.exp(interval.high)
    except OverflowError as error:
        raise NonFiniteError(
            f"a mean loss of up to {interval.high:.4g} nats has no finite perplexity; pass a "
            "smaller --ratio"
        ) from error


def _batch_losses(model: nn.Module, batch: Tensor) -> Iterator[float]:
    logits = model(input_ids=batch, use_cache=False).logits
    for row, ids in zip(logits, batch, strict=True):
        yield _mean_cross_entropy(row[:-1], ids[1:])


def _mean_cross_entropy(logits: Tensor, targets: Tensor) -> float:
    # A few positions at a time: a float32 copy of all logits would outweigh the model.
    precision = torch.promote_types(logits.dtype, torch.float32)
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    for at in range(0, len(targets), POSITIONS_AT_ONCE):
        chunk = slice(at, at + POSITIONS_AT_ONCE)
        losses = functional.cross_entropy(
            logits[chunk].to(precision), targets[chunk], reduction="none"
        )
        total += losses.double().sum()
    return total.item() / len(targets)
