"""Products that involve a triangle or end in a symmetric matrix, with about half the operations.

Each is cut into strips, so that what is known to be zero, or the mirror image of something else,
is not multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

STRIPS = 6
"""Most strips of a product; more save work but make smaller products."""

NARROWEST = 96
"""Width below which a strip gains less than another product costs."""


def triangle_product(W: Tensor, L: Tensor) -> Tensor:
    """``W L`` for ``W: [m, d]`` and a lower triangle ``L: [d, d]``, zero above."""
    product = torch.empty_like(W)
    for strip in _strips(len(L)):
        product[:, strip] = W[:, strip.start :] @ L[strip.start :, strip]
    return product


def gram(Y: Tensor) -> Tensor:
    """``Y Y^T``, ``[m, m]``."""
    product = Y.new_empty(len(Y), len(Y))
    for strip, rows in gram_rows(Y):
        product[strip, strip.start :] = rows
        product[strip.start :, strip] = rows.T
    return product


def gram_rows(Y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The rows of ``Y Y^T``, strip by strip, each from its first diagonal element on."""
    for strip in _strips(len(Y)):
        yield strip, Y[strip] @ Y[strip.start :].T


def sandwich(W: Tensor, S: Tensor) -> Tensor:
    """``W S W^T`` for ``W: [m, d]`` and symmetric ``S: [d, d]``, ``[m, m]``."""
    half = _half_product(W, S) @ W.T
    return half + half.T


def energy(W: Tensor, S: Tensor) -> Tensor:
    """``tr(W S W^T)`` for ``W: [m, d]`` and symmetric ``S: [d, d]``."""
    return 2 * (_half_product(W, S) * W).sum()


def largest(M: Tensor) -> float:
    """The largest absolute value in ``M``; NaN or infinity where it holds any."""
    least, most = torch.aminmax(M)
    return float(torch.maximum(-least, most))


def _half_product(W: Tensor, S: Tensor) -> Tensor:
    """``W L`` for the lower triangle ``L`` with ``L + L^T = S``."""
    product = torch.empty_like(W)
    for strip in _strips(len(S)):
        corner = S[strip, strip].tril()
        corner.diagonal().mul_(0.5)
        torch.mm(W[:, strip], corner, out=product[:, strip])
        product[:, strip].addmm_(W[:, strip.stop :], S[strip.stop :, strip])
    return product


def _strips(size: int) -> Iterator[slice]:
    width = max(-(-size // STRIPS), NARROWEST)
    for start in range(0, size, width):
        yield slice(start, start + width)
