"""Sources of statistics: what is known of each block when it is about to be compressed.

``statistics`` is asked for once before a block is compressed, ``skip`` is called instead before
the finished form of a block is put in its place, and ``advance`` after either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Protocol

from transformers import PreTrainedModel

from harness.compression.job import CompressionJob
from harness.families.stack import Block
from harness.statistics.block_statistics import BackwardStatistics, BlockStatistics
from harness.statistics.block_stream import BlockStream
from harness.statistics.packed_moments import unpacked
from harness.support.malloc import return_gaps


class StatisticsSource(Protocol):
    """Hands out the statistics of one block after the other, in the model's order."""

    def statistics(self, block: Block) -> BlockStatistics | None:
        """Of ``block``, which is still dense; None where the job reads none.

        Raises:
            NonFiniteError: an activation is NaN or infinite; names the layer.
            UsageError: nothing in the calibration reaches the block.
        """

    def skip(self, block: Block) -> None:
        """``block``, still dense, was compressed before and is about to be replaced."""

    def advance(self, block: Block) -> None:
        """``block`` is in its compressed form."""


def open_source(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    original: list[BlockStatistics],
    pending: Collection[str],
    job: CompressionJob,
) -> StatisticsSource:
    """The source that the job's propagation asks for.

    Args:
        model: what is being compressed.
        blocks: all that will be.
        original: statistics of the untouched model, as far as the method reads them; taken out
            of the list as blocks are done.
        pending: names of the blocks that are not finished.
        job: how.
    """
    dense = job.config.propagation == "original"
    if dense and original:
        return CollectedOnce(original)
    streams = BlockByBlock(model, blocks, pending, job, dense=dense)
    return WithBackward(streams, original) if job.config.reads_gradients else streams


class NoData:
    """For jobs that read none."""

    def statistics(self, block: Block) -> None:
        """There are none."""

    def skip(self, block: Block) -> None:
        """Nothing streams."""

    def advance(self, block: Block) -> None:
        """Nothing streams."""


class CollectedOnce:
    """Statistics of the untouched model, all collected before."""

    def __init__(self, collected: list[BlockStatistics]) -> None:
        """``collected`` is emptied block by block, so that memory shrinks as factors grow."""
        self._waiting = collected
        self._waiting.reverse()

    def statistics(self, block: Block) -> BlockStatistics:  # noqa: ARG002
        """See ``StatisticsSource``."""
        return_gaps()  # of the block before
        return unpacked(self._waiting.pop())

    def skip(self, block: Block) -> None:
        """Nothing streams."""

    def advance(self, block: Block) -> None:
        """Nothing streams."""


class BlockByBlock:
    """Statistics of each block on the hidden states that the blocks before it give.

    Those come from the dense blocks, else from the compressed ones. No block is sent through that
    nobody waits behind.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        blocks: Sequence[Block],
        pending: Collection[str],
        job: CompressionJob,
        *,
        dense: bool,
    ) -> None:
        self._model, self._job, self._dense = model, job, dense
        self._stacks = {stack[0].stack.blocks: stack for stack in stacks(blocks)}
        self._last_pending = {
            path: max((i for i, block in enumerate(stack) if block.name in pending), default=0)
            for path, stack in self._stacks.items()
        }
        self._index = {
            block.name: i for stack in self._stacks.values() for i, block in enumerate(stack)
        }
        self._streams: dict[str, BlockStream] = {}
        if dense:  # before the first tower changes what the next one sees
            self._streams = {path: self._open(stack) for path, stack in self._stacks.items()}

    def statistics(self, block: Block) -> BlockStatistics:
        """See ``StatisticsSource``; from dense blocks the stream passes while it is measured."""
        on = self._dense and self._awaited(block)
        stream = self._stream(block)
        return stream.measure(self._index[block.name], self._job.keeps_mlp_tokens, advance=on)

    def skip(self, block: Block) -> None:
        """See ``StatisticsSource``."""
        if self._dense:
            self._pass(block)

    def advance(self, block: Block) -> None:
        """See ``StatisticsSource``."""
        if not self._dense:
            self._pass(block)
        path = block.stack.blocks
        if self._index[block.name] + 1 == len(self._stacks[path]):
            self._streams.pop(path, None)

    def _pass(self, block: Block) -> None:
        if self._awaited(block):
            self._stream(block).advance(self._index[block.name])

    def _awaited(self, block: Block) -> bool:
        """Whether a block behind it is still to be compressed."""
        return self._index[block.name] < self._last_pending[block.stack.blocks]

    def _stream(self, block: Block) -> BlockStream:
        path = block.stack.blocks
        if path not in self._streams:
            self._streams[path] = self._open(self._stacks[path])
        return self._streams[path]

    def _open(self, stack: Sequence[Block]) -> BlockStream:
        return BlockStream(self._model, stack, self._job.calibration, self._job.batch_size)


class WithBackward:
    """Another source, with what the backward pass through the untouched model has seen."""

    def __init__(self, forward: StatisticsSource, original: list[BlockStatistics]) -> None:
        """``original`` is emptied; its moments are forgotten."""
        self._forward = forward
        self._waiting: list[BackwardStatistics | None] = [seen.backward for seen in original]
        original.clear()
        self._waiting.reverse()

    def statistics(self, block: Block) -> BlockStatistics:
        """See ``StatisticsSource``."""
        seen = self._forward.statistics(block)
        assert seen is not None
        return_gaps()  # of the block before
        return unpacked(replace(seen, backward=self._waiting.pop()))

    def skip(self, block: Block) -> None:
        """See ``StatisticsSource``."""
        self._forward.skip(block)
        self._waiting.pop()

    def advance(self, block: Block) -> None:
        """See ``StatisticsSource``."""
        self._forward.advance(block)


def stacks(blocks: Iterable[Block]) -> list[list[Block]]:
    """The blocks of each stack by themselves."""
    return [list(stack) for _, stack in groupby(blocks, key=lambda block: block.stack.blocks)]
