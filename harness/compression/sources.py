"""The turns in which blocks are compressed, and what is known of each when its turn has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby

from transformers import PreTrainedModel

from harness.algebra.drift import Drift
from harness.calibration.text import Calibration
from harness.compression.block_checkpoints import Staging
from harness.compression.compressor import CompressorConfig
from harness.families.stack import Block
from harness.layers.roles import Role
from harness.layers.weights import LinearWeights
from harness.models.language_model import LanguageModel
from harness.records.spec import Scope
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.block_stream import BlockFlow
from harness.statistics.drift import TwoStreams
from harness.statistics.packed_moments import unfolded
from harness.support.malloc import return_gaps

Look = Callable[[], BlockStatistics]
"""Takes the statistics of a block when its turn has come."""

Drifting = Callable[[Role, LinearWeights], Drift]
"""Looks at what a layer of the block receives now, and lacks."""

Turn = tuple[Block, Look | None]
"""A block, and its statistics unless it is compressed already."""


def turns(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    original: list[BlockStatistics],
    calibration: Calibration,
    config: CompressorConfig,
    *,
    keep_mlp_tokens: bool,
    batch_size: int,
    staged: Staging | None,
) -> Iterator[Turn]:
    """Each of ``blocks`` when the consumer may compress it.

    Args:
        model: what is being compressed.
        blocks: all that will be.
        original: statistics of the untouched model, as far as ``config`` reads them; taken out of
            the list as blocks are done.
        calibration: what further statistics are taken over.
        config: options of the method.
        keep_mlp_tokens: whether those hold tokens for a refit of the MLP.
        batch_size: sequences per forward pass.
        staged: finished blocks, of a model whose blocks are on disk.
    """
    dense = config.propagation == "original"
    if staged is None and dense:
        taken = _drain(original)
        return ((block, partial(next, taken)) for block in blocks)
    runs = _stacks(blocks)
    flows: Iterable[BlockFlow] = (BlockFlow(model, run, calibration, batch_size) for run in runs)
    if dense:
        flows = list(flows)  # before the first tower changes what the next one sees
    found = _in_turn(flows, staged, keep_mlp_tokens, dense=dense)
    if not config.reads_gradients:
        return found
    return (
        (block, look and partial(_with_backward, look, one))
        for (block, look), one in zip(found, _drain(_backward(original)), strict=True)
    )


def drifts(
    config: CompressorConfig,
    subject: LanguageModel,
    model: PreTrainedModel,
    scope: Scope,
    calibration: Calibration,
    batch_size: int,
) -> Iterator[Drifting | None]:
    """For each block, what looks at its layers between the dense and the compressed stream."""
    blocks = subject.family.blocks(model, scope)
    if not config.compensates:
        yield from [None] * len(blocks)
        return
    dense = subject.family.blocks(subject.model, scope)
    for run, dense_run in zip(_stacks(blocks), _stacks(dense), strict=True):
        streams = TwoStreams(
            BlockFlow(subject.model, dense_run, calibration, batch_size),
            BlockFlow(model, run, calibration, batch_size),
        )
        for index in range(len(run)):
            streams.enter(index)
            yield partial(streams.look, index)
            streams.leave(index)


def _drain(statistics: list[BlockStatistics]) -> Iterator[BlockStatistics]:
    """Hand out statistics and forget them, so that memory shrinks as factors grow."""
    statistics.reverse()
    while statistics:
        return_gaps()  # of the block before
        yield unfolded(statistics.pop())


def _in_turn(
    flows: Iterable[BlockFlow], staged: Staging | None, keep_mlp_tokens: bool, *, dense: bool
) -> Iterator[Turn]:
    """Each block when the consumer may compress it, None for statistics if that is done already.

    Hidden states come from the ``dense`` blocks, else from what the consumer made of them. No
    block is sent through that nobody waits behind.
    """
    for flow in flows:
        run = flow.blocks
        left = [i for i, block in enumerate(run) if staged is None or not staged.holds(block)]
        for index, block in enumerate(run):
            awaited = index < max(left, default=0)
            with staged.visit(block) if staged else nullcontext():
                if index in left:
                    on = dense and awaited
                    yield block, partial(flow.measure, index, keep_mlp_tokens, advance=on)
                else:
                    if dense and awaited:
                        flow.advance(index)
                    yield block, None
                if awaited and not dense:
                    flow.advance(index)


def _backward(original: list[BlockStatistics]) -> list[BlockStatistics]:
    """What the backward pass has seen, without the moments, which are forgotten."""
    kept = [replace(seen, moments={}, mlp_tokens=None) for seen in original]
    original.clear()
    return kept


def _with_backward(look: Look, backward: BlockStatistics) -> BlockStatistics:
    return replace(
        look(),
        gradients=backward.gradients,
        agreement=backward.agreement,
        influence=backward.influence,
    )


def _stacks(blocks: Sequence[Block]) -> list[list[Block]]:
    """The blocks of each stack by themselves."""
    return [list(stack) for _, stack in groupby(blocks, key=lambda block: block.stack.blocks)]
