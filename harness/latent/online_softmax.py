"""Attention over keys and values that arrive in parts, so that they are never whole."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

KeyValuePart = tuple[Tensor, Tensor]
SoftmaxState = tuple[Tensor, Tensor, Tensor]
"""Of the keys so far: mean of their values, highest score, sum of weights relative to that one."""


def attend(
    query: Tensor, parts: Iterable[KeyValuePart], mask: Tensor | None, *, keep_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """``softmax(query keys^T + mask) values`` by the online softmax, in at least float32.

    Args:
        query: ``[batch, heads, n, d]``, already scaled.
        parts: consecutive keys ``[batch, key_heads, c, d]`` and values
            ``[batch, value_heads, c, e]``; equal groups of query heads share a key or value head.
        mask: booleans (True: attend) or numbers to add, broadcastable to
            ``[batch, heads, n, total]``; None attends to everything.
        keep_weights: also return the softmax, which takes memory in proportion to ``n total``.

    Returns:
        The mixed values ``[batch, heads, n, e]`` and the weights ``[batch, heads, n, total]`` or
        None. A query all of whose keys are masked gets the mean of some values, never NaN.

    Source: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).
    """
    precision = torch.promote_types(query.dtype, torch.float32)
    state: SoftmaxState | None = None
    kept: list[Tensor] = []
    start = 0
    for keys, values in parts:
        stop = start + keys.shape[2]
        scores = _per_group(query, keys.mT).to(precision)
        if mask is not None:
            scores = _masked(scores, mask[..., start:stop])
        top = scores.amax(-1, keepdim=True)
        weights = (scores - top).exp()
        share = weights.sum(-1, keepdim=True)
        # Normalised before the product: a sum of many values may not fit in half precision.
        mean = _per_group((weights / share).to(query.dtype), values).to(precision)
        state = (mean, top, share) if state is None else _merged(state, (mean, top, share))
        start = stop
        if keep_weights:
            kept.append(scores)
    assert state is not None
    mixed, peak, total = state
    mixed = mixed.to(query.dtype)
    if not keep_weights:
        return mixed, None
    return mixed, ((torch.cat(kept, -1) - peak).exp() / total).to(query.dtype)


def _merged(first: SoftmaxState, second: SoftmaxState) -> SoftmaxState:
    peak = torch.maximum(first[1], second[1])
    totals = [total * (top - peak).exp() for _, top, total in (first, second)]
    total = totals[0] + totals[1]
    return torch.lerp(first[0], second[0], totals[1] / total), peak, total


def _per_group(left: Tensor, right: Tensor) -> Tensor:
    """Product of ``[batch, heads, n, k]`` with ``[batch, shared_heads, k, m]``."""
    batch, heads, rows, inner = left.shape
    shared = right.shape[1]
    product = left.reshape(batch, shared, heads // shared * rows, inner) @ right
    return product.reshape(batch, heads, rows, -1)


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    lowest = torch.finfo(scores.dtype).min
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, lowest)
    return (scores + mask).clamp_min(lowest)
