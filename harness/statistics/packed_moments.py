"""Moments of many blocks in half the memory: of symmetric matrices one triangle is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from harness.algebra.packed import pack, unpack
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.moments import Moments

K = TypeVar("K")


@dataclass(frozen=True, eq=False)
class PackedMoments(Mapping[K, Moments]):
    """Moments that are unpacked, without loss, each time they are read.

    Attributes:
        held: those whose ``second`` is packed (see ``harness.algebra.packed``).
    """

    held: Mapping[K, Moments]

    def __getitem__(self, key: K) -> Moments:
        moments = self.held[key]
        return replace(moments, second=unpack(moments.second))

    def __iter__(self) -> Iterator[K]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


def packed(moments: Mapping[K, Moments]) -> PackedMoments[K]:
    """``moments`` in half the memory."""
    if isinstance(moments, PackedMoments):
        return moments
    return PackedMoments(
        {key: replace(known, second=pack(known.second)) for key, known in moments.items()}
    )


def unpacked(block: BlockStatistics) -> BlockStatistics:
    """For a block that is about to be compressed: its moments, each unpacked once."""
    backward = block.backward
    if backward is not None:
        backward = replace(backward, gradients=dict(backward.gradients))
    return replace(block, moments=dict(block.moments), backward=backward)
