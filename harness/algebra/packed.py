"""Symmetric matrices in half the memory: one triangle, laid out as a rectangle.

Of ``S: [d, d]`` the upper ``d // 2 + 1`` rows are kept. Below their diagonal is room for the
triangle of the others, which lies there transposed and one row down.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.algebra.blocked_products import gram_rows

Seen = Callable[[slice, Tensor], None]
"""Shown some rows of a symmetric matrix, each from its diagonal element on and zero before it."""


def packed_zeros(size: int, device: torch.device) -> Tensor:
    """A packed ``[size, size]`` matrix of zeros, in float64."""
    return torch.zeros(size // 2 + 1, size, dtype=torch.float64, device=device)


def pack(S: Tensor) -> Tensor:
    """Symmetric ``S: [d, d]`` as a rectangle, ``[d // 2 + 1, d]``."""
    rest = (len(S) - 1) // 2
    upper = len(S) - rest
    rectangle = S[:upper].triu()
    rectangle[1 : rest + 1, :rest] += S[upper:, upper:].tril()
    return rectangle


def unpack(rectangle: Tensor) -> Tensor:
    """The matrix that was packed, equal to the last bit."""
    upper, size = rectangle.shape
    rest = size - upper
    S = torch.zeros(size, size, dtype=rectangle.dtype, device=rectangle.device)
    S[:upper] = rectangle.triu()
    S[upper:, upper:] = rectangle[1 : rest + 1, :rest].tril().T
    return S + S.triu(1).T


def add_gram(rectangle: Tensor, x: Tensor, seen: Seen | None = None) -> None:
    """Add ``x^T x`` of ``x: [n, d]`` to a packed matrix, in place; ``seen`` is shown it."""
    upper, size = rectangle.shape
    for strip, product in gram_rows(x.T):
        start, rows = strip.start, product.triu_()
        if seen is not None:
            seen(strip, rows)
        above = max(min(upper - start, len(rows)), 0)
        rectangle[start : start + above, start:] += rows[:above]
        below = rows[above:, above:]
        at = start + above - upper
        if len(below):
            rectangle[1 + at : 1 + size - upper, at : at + len(below)] += below.T
