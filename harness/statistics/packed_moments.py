"""Moments of many blocks in half the memory: of symmetric matrices one triangle is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from harness.algebra.packed import fold, unfold
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.moments import Moments

K = TypeVar("K")


@dataclass(frozen=True, eq=False)
class Folded(Mapping[K, Moments]):
    """Moments that are unfolded, without loss, each time they are read.

    Attributes:
        held: those whose ``second`` is folded (see ``harness.algebra.packed``).
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
