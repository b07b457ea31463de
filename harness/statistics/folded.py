"""Moments of many blocks in half the memory: of a symmetric matrix one triangle is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from harness.compressor import BlockStatistics
from harness.statistics.moments import Moments

K = TypeVar("K")


@dataclass(frozen=True, eq=False)
class Folded(Mapping[K, Moments]):
    """Moments that are unfolded, without loss, each time they are read.

    Attributes:
        held: those whose ``second`` is folded (see ``fold``).
    """

    held: Mapping[K, Moments]

    def __getitem__(self, key: K) -> Moments:
        moments = self.held[key]
        return replace(moments, second=unfold(moments.second))

    def __iter__(self) -> Iterator[K]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


def folded(moments: Mapping[K, Moments]) -> Folded[K]:
    """``moments`` in half the memory."""
    if isinstance(moments, Folded):
        return moments
    return Folded({key: replace(one, second=fold(one.second)) for key, one in moments.items()})


def unfolded(block: BlockStatistics) -> BlockStatistics:
    """For a block whose turn has come: its moments, each unfolded once."""
    gradients = None if block.gradients is None else dict(block.gradients)
    return replace(block, moments=dict(block.moments), gradients=gradients)


def fold(S: Tensor) -> Tensor:
    """One triangle of symmetric ``S: [d, d]`` as a rectangle ``[d // 2 + 1, d]``.

    The upper rows, below whose diagonal is room for the triangle of the others.
    """
    rest = (len(S) - 1) // 2
    upper = len(S) - rest
    rectangle = S[:upper].triu()
    rectangle[1 : rest + 1, :rest] += S[upper:, upper:].tril()
    return rectangle


def unfold(rectangle: Tensor) -> Tensor:
    """The symmetric ``S: [d, d]`` of ``fold``, equal to the last bit."""
    upper, size = rectangle.shape
    rest = size - upper
    S = torch.zeros(size, size, dtype=rectangle.dtype, device=rectangle.device)
    S[:upper] = rectangle.triu()
    S[upper:, upper:] = rectangle[1 : rest + 1, :rest].tril().T
    return S + S.triu(1).T
